"""The operators of mmcv that detectors need, computed by torchvision.

mmcv compiles its operators while it is installed, which takes minutes, a compiler, and a PyTorch
that is installed before. Otherwise ``mmcv.ops`` does not import, and the detectors of mmdet cannot
be built. :mod:`mmmask.upstream` therefore puts :class:`Operators` in the place of mmcv's extension
module if there is none. Operators that mmcv has compiled are never replaced.
"""

import sys
from importlib.machinery import ModuleSpec
from importlib.metadata import packages_distributions
from importlib.util import find_spec
from types import ModuleType

import torch
from torch import Tensor

EXTENSION = 'mmcv._ext'
AVERAGE = 1  # the number of this pooling in mmcv


class Operators(ModuleType):
    """What stands for mmcv's extension module, with all of its names.

    A function that is not defined here raises ``NotImplementedError`` when it is called, because
    ``mmcv.ops`` imports only if no name is missing.
    """

    def __init__(self) -> None:
        super().__init__(EXTENSION, __doc__)
        self.__spec__ = ModuleSpec(EXTENSION, None)  # what looks for the module must find it
        functions = (nms, roi_align_forward, roi_align_backward, get_compiler_version)
        vars(self).update({function.__name__: function for function in functions})
        self.get_compiling_cuda_version = get_compiler_version

    def __getattr__(self, name: str):
        if name.startswith('__'):
            raise AttributeError(name)

        def missing(*args, **kwargs):
            raise NotImplementedError(
                f'mmcv was installed without compiled operators, and torchvision does not replace '
                f'{name}. Remedy: MMCV_WITH_OPS=1 pip install --force-reinstall --no-deps '
                '--no-build-isolation --no-cache-dir --no-binary :all: '
                f'{packages_distributions()["mmcv"][0]}, beside PyTorch, ninja, psutil and a '
                'compiler.'
            )

        return missing


def provide_operators() -> None:
    """Put :class:`Operators` in the place of mmcv's extension module, if mmcv has none."""
    if EXTENSION not in sys.modules and find_spec('mmcv') and not find_spec(EXTENSION):
        sys.modules[EXTENSION] = Operators()


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Indices of the boxes that non-maximum suppression keeps, by falling score.

    Args:
        boxes: (N, 4) corners x1, y1, x2, y2 in pixels.
        scores: (N,).
        iou_threshold: a box is dropped if its overlap with a kept one exceeds this.
        offset: 1 if a box from x1 to x2 is x2 − x1 + 1 pixels wide, otherwise 0.
    """
    from torchvision.ops import nms

    far_corner = boxes.new_tensor([0, 0, offset, offset])
    return nms(boxes + far_corner, scores, iou_threshold)


def roi_align_forward(
    features: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    *,
    pool_mode: int,
    **options,
) -> None:
    """Write the features of the rectangles into ``output``, as RoIAlign of Mask R-CNN.

    Args:
        features: (B, C, H, W).
        rois: (N, 5) number of the image, and corners in pixels of the image.
        output: (N, C, aligned_height, aligned_width).
        argmax_y: not used, because the samples of a cell are averaged.
        argmax_x: not used.
        **options: ``aligned_height``, ``aligned_width``, ``spatial_scale``, ``sampling_ratio`` and
            ``aligned`` of mmcv's function.

    Raises:
        NotImplementedError: if ``pool_mode`` is not the average.
    """
    if pool_mode != AVERAGE:
        raise NotImplementedError(
            "RoIAlign with pool_mode='max' needs mmcv's compiled operators: write pool_mode='avg'"
        )
    options = _named_as_in_torchvision(**options)
    output.copy_(_torchvision().roi_align(features, rois, **options))


def roi_align_backward(
    output_gradient: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    gradient: Tensor,
    *,
    pool_mode: int,
    **options,
) -> None:
    """Write the gradient (B, C, H, W) of the features of :func:`roi_align_forward`."""
    size = zip(('batch_size', 'channels', 'height', 'width'), gradient.shape, strict=True)
    options = _named_as_in_torchvision(**options)
    gradient.copy_(
        _torchvision()._roi_align_backward(output_gradient, rois, **dict(size), **options)
    )


def _torchvision():
    import torchvision.ops  # noqa: F401  (it registers the operators)

    return torch.ops.torchvision


def _named_as_in_torchvision(aligned_height: int, aligned_width: int, **others) -> dict:
    return dict(pooled_height=aligned_height, pooled_width=aligned_width, **others)


def get_compiler_version() -> str:
    """What ``collect_env`` prints for mmcv's compilers."""
    return 'none: torchvision computes the operators'

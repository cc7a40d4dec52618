"""Changes of size for images with any number of channels, uint8 or floating-point."""

import mmcv.transforms
import mmpretrain.datasets.transforms
import numpy as np

from mmmask.datasets.resizing import resize_image
from mmmask.registry import TRANSFORMS


class _Antialiased:
    """Resizes as Pillow does, which itself takes few kinds of images, by PyTorch."""

    def __init__(self, *args, interpolation: str = 'bicubic', **kwargs) -> None:
        super().__init__(*args, interpolation=interpolation, **kwargs)

    def _resize_img(self, results: dict) -> None:
        image = results['img']
        (width, height), (old_height, old_width) = results['scale'], image.shape[:2]
        image = resize_image(np.ascontiguousarray(image), (height, width), self.interpolation)
        results.update(
            img=image,
            img_shape=image.shape[:2],
            scale_factor=(width / old_width, height / old_height),
        )


@TRANSFORMS.register_module()
class ResizeEdge(_Antialiased, mmpretrain.datasets.transforms.ResizeEdge):
    """``mmpretrain.ResizeEdge`` with antialiasing, for (H, W, C) images from 0 to 255.

    Args:
        scale, edge: as in ``mmpretrain.ResizeEdge``.
        interpolation: ``'bicubic'`` or ``'bilinear'``.
    """


@TRANSFORMS.register_module()
class Resize(_Antialiased, mmcv.transforms.Resize):
    """``mmcv.Resize`` to a fixed size with antialiasing, for (H, W, C) images from 0 to 255.

    Args:
        scale: (W, H) of the result.
        interpolation: ``'bicubic'`` or ``'bilinear'``.
    """

    def __init__(self, scale: tuple[int, int], interpolation: str = 'bicubic') -> None:
        super().__init__(scale, interpolation=interpolation)

"""Networks as programs that run without mmmask: ``torch.export`` and ONNX."""

import logging
import os
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from mmmask.outputs import MARK, mark_archive

from ..files import CheckpointError
from .verification import relative_difference, verified

PROGRAMS = dict(torch='.pt2', onnx='.onnx')  # target -> suffix of the file
_SNIPPETS = dict(
    torch="""import torch

model = torch.export.load({path!r}).module()
features = model(images)  # {images} -> {features}
""",
    onnx="""import onnxruntime

session = onnxruntime.InferenceSession({path!r})
(features,) = session.run(None, dict(images=images))  # float32 {images} -> {features}
""",
)


class LastFeatures(nn.Module):
    """images (B, C, H, W) -> the last of the feature maps of a network."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images)[-1]


def write_program(
    network: nn.Module, shape: tuple[int, int, int], dst: Path, target: str
) -> tuple[float, str]:
    """Write a network for batches of any size, checked by running it with batches of 1 and 3.

    Args:
        network: in evaluation mode; its last output is exported.
        shape: (C, H, W) of the images, which is fixed.
        dst: file to write.
        target: one of ``PROGRAMS``.

    Returns:
        The largest difference of the features, and code that runs the file.

    Raises:
        CheckpointError: for another suffix, or if the features differ.
        ModuleNotFoundError: if ONNX or its runtime is not installed.
    """
    if dst.suffix != PROGRAMS[target]:
        raise CheckpointError(f'{dst}: the name ends in {PROGRAMS[target]} for --to {target}.')
    model = LastFeatures(network).eval()
    batches = [torch.randn(size, *shape) for size in (3, 1)]
    expected = [model(batch) for batch in batches]
    draft = dst.with_name(f'.{dst.stem}.{os.getpid()}{dst.suffix}')

    def measure(path: Path) -> float:
        _WRITERS[target](model, batches[0], path)
        run = _READERS[target](path)
        return relative_difference([run(batch) for batch in batches], expected)

    dst.parent.mkdir(parents=True, exist_ok=True)
    try:
        difference = verified(draft, target, measure)
        os.replace(draft, dst)
    finally:
        draft.unlink(missing_ok=True)
    images, features = (
        f'({", ".join(map(str, ("B", *sizes)))})' for sizes in (shape, expected[0].shape[1:])
    )
    return difference, _SNIPPETS[target].format(path=str(dst), images=images, features=features)


def _write_torch(model: nn.Module, images: Tensor, path: Path) -> None:
    shapes = dict(images={0: torch.export.Dim('batch')})
    torch.export.save(torch.export.export(model, (images,), dynamic_shapes=shapes), path)
    mark_archive(path)


def _read_torch(path: Path) -> Callable[[Tensor], Tensor]:
    return torch.export.load(path).module()


def _write_onnx(model: nn.Module, images: Tensor, path: Path) -> None:
    import onnx
    import onnxscript  # noqa: F401  the exporter's own message on a missing package is longer

    logging.getLogger('torch.onnx').setLevel(logging.ERROR)
    torch.onnx.export(
        model,
        (images,),
        path,
        dynamo=True,
        external_data=False,
        verbose=False,
        input_names=['images'],
        output_names=['features'],
        dynamic_shapes=dict(images={0: torch.export.Dim('batch')}),
    )
    content = onnx.load(path)
    content.doc_string = MARK
    onnx.save(content, path)


def _read_onnx(path: Path) -> Callable[[Tensor], Tensor]:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
    return lambda images: torch.from_numpy(session.run(None, dict(images=images.numpy()))[0])


_WRITERS = dict(torch=_write_torch, onnx=_write_onnx)
_READERS = dict(torch=_read_torch, onnx=_read_onnx)

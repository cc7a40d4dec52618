"""The check that what was written gives the same features in another library."""

from collections.abc import Callable, Sequence
from pathlib import Path

from torch import Tensor

from ..files import CheckpointError

TOLERANCE = 1e-5
EXTRAS = dict(
    mmdet='detection', mmseg='segmentation', timm='export', huggingface='export', onnx='onnx'
)


def verified(draft: Path, target: str, measure: Callable[[Path], float]) -> float:
    """The difference of the features that a library computes from what was written.

    Args:
        draft: a file or a folder.
        target: name of the library, for the error.
        measure: draft -> largest difference, relative to the largest feature.

    Raises:
        CheckpointError: if the features differ.
        ModuleNotFoundError: if the library is not installed.
    """
    try:
        difference = measure(draft)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f'--to {target} compares the features in the library itself, and {error.name} is not '
            f'installed: pip install "mmmask[{EXTRAS[target]}]" (python -m mmmask.doctor says '
            'what else is missing). Nothing was written.',
            name=error.name,
        ) from error
    if not difference <= TOLERANCE:
        raise CheckpointError(
            f"the features of {target} differ from mmmask's by {difference:.3g} of the "
            f'largest one, more than {TOLERANCE:g}, so nothing was written: the installed '
            f'version of {target} computes something else, or the weights are not finite.'
        )
    return difference


def relative_difference(features: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """Largest difference of a feature map, relative to the largest value that is expected of it."""
    return max(
        ((one - other).abs().max() / other.abs().max()).item()
        for one, other in zip(features, expected, strict=True)
    )

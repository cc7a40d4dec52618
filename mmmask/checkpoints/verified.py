"""Files that are written only if another library reads the same network out of them."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from torch import Tensor

from .files import CheckpointError, write_checkpoint

TOLERANCE = 1e-5
EXTRAS = dict(mmdet='detection', mmseg='segmentation', timm='export', huggingface='export')


def write_verified(
    content: dict, dst: Path, target: str, measure: Callable[[Path], float]
) -> float:
    """Write ``content`` to ``dst`` unless the file gives other features; return their difference.

    Args:
        content: of the checkpoint.
        dst: file to write.
        target: name of the library, for the error.
        measure: file -> difference of the features that the library computes from it.

    Raises:
        CheckpointError: if the features differ; the file is then not there, or as it was.
        ModuleNotFoundError: without the library.
    """
    # The suffix stays last, as the libraries tell the format by it.
    draft = dst.with_name(f'.{dst.stem}.{os.getpid()}{dst.suffix}')
    try:
        write_checkpoint(content, draft)
        difference = measure(draft)
        if not difference <= TOLERANCE:
            raise CheckpointError(
                f"the features of {target} differ from mmmask's by {difference:.3g} of the "
                f'largest one, more than {TOLERANCE:g}, so nothing was written: the installed '
                f'version of {target} computes something else, or the weights are not finite.'
            )
        os.replace(draft, dst)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f'--to {target} compares the features in the library itself, and {error.name} is not '
            f'installed: pip install "mmmask[{EXTRAS[target]}]" (python -m mmmask.doctor says '
            'what else is missing). Nothing was written.',
            name=error.name,
        ) from error
    finally:
        draft.unlink(missing_ok=True)
    return difference


def relative_difference(features: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """Largest difference of a map, relative to the largest value that is expected of it."""
    return max(
        ((one - other).abs().max() / other.abs().max()).item()
        for one, other in zip(features, expected, strict=True)
    )

"""Rules on the options of masked encoders that mmpretrain does not check."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from mmcv.cnn.bricks import DropPath
from torch import nn


def find_depth(arch: str | Mapping, zoo: Mapping[str, Mapping]) -> int:
    """The number of blocks of a plain transformer, or of stages of a hierarchical one.

    Args:
        arch: name of an architecture or its settings. Stages double the width.
        zoo: settings of the architectures by name.

    Raises:
        ValueError: for an unknown or incomplete architecture, or heads that do not divide its
            width.
    """
    if isinstance(arch, str) and arch not in zoo:
        close = get_close_matches(arch, zoo, n=1)
        remedy = f'did you mean {close[0]!r}?' if close else f'use one of {", ".join(sorted(zoo))}.'
        raise ValueError(f'arch={arch!r} is unknown: {remedy}')
    settings = zoo[arch] if isinstance(arch, str) else arch
    missing = [key for key in zoo['base'] if key not in settings]
    if missing:
        raise ValueError(f'arch.{missing[0]} is missing: an architecture needs it.')
    width, heads = settings['embed_dims'], settings['num_heads']
    for stage, number in enumerate(heads if isinstance(heads, list | tuple) else [heads]):
        if width * 2**stage % number:
            raise ValueError(
                f'arch.num_heads={heads} must divide embed_dims={width * 2**stage} evenly.'
            )
    return settings['num_layers'] if 'num_layers' in settings else len(settings['depths'])


def check_out_indices(indices: int | Sequence[int], depth: int) -> None:
    """Raise ValueError unless the indices are different blocks or stages, at least one."""
    indices = [indices] if isinstance(indices, int) else list(indices)
    positive = [index + depth if index < 0 else index for index in indices]
    if not positive or not {*positive} <= {*range(depth)} or len({*positive}) < len(positive):
        raise ValueError(
            f'out_indices={indices} must be different numbers from 0 to {depth - 1}, or from -1 '
            'backwards.'
        )


def check_image_size(img_size: int | Sequence[int], unit: int) -> None:
    """Raise ValueError unless the unit, in pixels, divides the declared size of the images."""
    sides = [img_size] if isinstance(img_size, int) else img_size
    if any(side % unit for side in sides):
        example = unit * max(1, round(sides[0] / unit))
        raise ValueError(
            f'img_size={img_size} must be a multiple of {unit} px, the side of a patch or mask '
            f'unit, such as {example}.'
        )


def make_drop_rates_plain(encoder: nn.Module) -> None:
    """Turn the rates of all drop paths into Python floats.

    mmpretrain leaves them as scalars of NumPy, and their comparison with 0 in every block breaks
    the graph of ``torch.compile``.
    """
    for module in encoder.modules():
        if isinstance(module, DropPath):
            module.drop_prob = float(module.drop_prob)

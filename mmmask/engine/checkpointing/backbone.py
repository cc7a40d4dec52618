"""A pre-trained backbone into a network that has one."""

import re
from pathlib import Path

from mmengine.logging import print_log
from torch import nn

from .files import CheckpointError, find_tensors, open_checkpoint

# Norms behind the last block and additions of downstream networks: new where a checkpoint lacks
# them, and dropped where a network does.
OPTIONAL = re.compile(r'^(ln|norm|fc_norm)\d*\.|rel_pos|relative_position|gamma')


def load_backbone(backbone: nn.Module, path: str | Path, allow_missing: bool = False) -> str:
    """Load the ``backbone.`` part of a checkpoint, or all of one that has no such part.

    Returns:
        One line with the numbers of matched, new and dropped tensors.

    Raises:
        CheckpointError: unless every encoder tensor of the file found its place and every encoder
            tensor of the network was filled, apart from norms behind the last block and additions
            of downstream networks. ``allow_missing`` turns this into a warning.
    """
    tensors = find_tensors(open_checkpoint(path), path)
    prefix = 'backbone.'
    if any(name.startswith(prefix) for name in tensors):
        tensors = {n[len(prefix) :]: t for n, t in tensors.items() if n.startswith(prefix)}
    own = backbone.state_dict()
    # The network's own hooks interpolate position tables of another grid.
    misfits = [
        f'{name} is {tuple(tensor.shape)} in the file but {tuple(own[name].shape)} in the network'
        for name, tensor in tensors.items()
        if name in own and tensor.shape != own[name].shape and not name.endswith('pos_embed')
    ]
    missing = sorted(own.keys() - tensors.keys())
    unexpected = sorted(tensors.keys() - own.keys())
    problems = misfits + [
        f'{name} of the {place}'
        for names, place in (
            (missing, 'network is not in the file'),
            (unexpected, 'file has no place in the network'),
        )
        for name in names
        if not OPTIONAL.search(name)
    ]
    matched = len(tensors) - len(unexpected) - len(misfits)
    summary = (
        f'{path}: {matched} tensors of the backbone matched, {len(missing)} missing {missing}, '
        f'{len(unexpected)} unexpected {unexpected}'
    )
    if problems and not (allow_missing and matched):
        listed = '\n'.join(f'  {problem}' for problem in problems[:20])
        rest = f'\n  and {len(problems) - 20} more' if len(problems) > 20 else ''
        raise CheckpointError(
            f'{path} does not fit the backbone {type(backbone).__name__} ({matched} tensors match):'
            f'\n{listed}{rest}\nUse the architecture that the file was made with, convert the file '
            'with tools/convert.py, or accept the gaps with --allow-missing.'
        )
    fitting = {
        n: t
        for n, t in tensors.items()
        if n in own and not any(line.startswith(f'{n} is ') for line in misfits)
    }
    backbone.load_state_dict(fitting, strict=False)
    print_log(summary, logger='current')
    return summary

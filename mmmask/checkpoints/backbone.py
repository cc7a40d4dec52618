"""A pre-trained backbone into a network that has one."""

import math
import re
from collections.abc import Mapping
from pathlib import Path

import torch.nn.functional as F
from mmengine.logging import print_log
from mmpretrain.models.backbones import VisionTransformer
from mmpretrain.models.utils import resize_pos_embed
from torch import Tensor, nn

from .description import describe_backbone
from .files import CheckpointError, find_tensors, open_checkpoint
from .renaming import fitting_layouts

# Norms behind the last block, additions of downstream networks, and the count of batches that old
# files do not have: new where a checkpoint lacks them, and dropped where a network does.
NORM = re.compile(r'^(ln|norm|fc_norm)\d*\.')
ADDITION = re.compile(
    r'rel_pos_[hw]$|attn\.relative_position_bias_table$|gamma|num_batches_tracked$'
)
# Constants, which every network computes for its own size.
CONSTANT = re.compile(r'relative_position_index$|attn_mask$')
# Layers that some networks of mmseg name otherwise. Swin and ResNet have the same names in
# mmpretrain, mmdet and mmseg, and so have the other vision transformers.
ALIASES = {
    'attn.qkv.weight': 'attn.attn.in_proj_weight',
    'attn.qkv.bias': 'attn.attn.in_proj_bias',
    'attn.proj.weight': 'attn.attn.out_proj.weight',
    'attn.proj.bias': 'attn.attn.out_proj.bias',
}


def load_backbone(
    backbone: nn.Module,
    path: str | Path,
    allow_missing: bool = False,
    shared_head: nn.Module | None = None,
) -> str:
    """Load the ``backbone.`` part of a checkpoint, or all of one that has no such part.

    Position tables are interpolated to the network's grid, square or not, and tables of relative
    positions to its windows. A network without class token takes none.

    Args:
        backbone: network to fill.
        path: any checkpoint of this project, or of mmpretrain.
        allow_missing: warn of gaps instead of stopping.
        shared_head: holds the last stage in detectors that pool from the stage before (C4).

    Returns:
        One line with the numbers of matched, new and dropped tensors.

    Raises:
        CheckpointError: unless every encoder tensor of the file found its place and every encoder
            tensor of the network was filled, apart from norms behind the last block and additions
            of downstream networks. ``allow_missing`` turns this into a warning.
    """
    checkpoint = open_checkpoint(path)
    tensors = find_tensors(checkpoint, path)
    names, prefix = tensors.keys(), 'backbone.'
    if any(name.startswith(prefix) for name in tensors):
        tensors = {n[len(prefix) :]: t for n, t in tensors.items() if n.startswith(prefix)}
    parts = [backbone] if shared_head is None else [backbone, shared_head]
    own = {n: t for part in parts for n, t in part.state_dict().items() if not CONSTANT.search(n)}
    tensors = {_alias(n, own): t for n, t in tensors.items() if not CONSTANT.search(n)}
    description = describe_backbone(checkpoint.get('meta') or {})
    tensors = _resize_tables(tensors, own, backbone, description)
    dropped = {'cls_token'} - own.keys()
    # Norms of pre-training may follow the merging of patches, where they are wider.
    tensors = {
        name: tensor
        for name, tensor in tensors.items()
        if name not in own or tensor.shape == own[name].shape or not NORM.search(name)
    }

    misfits = {
        name: f'{name} is {tuple(tensor.shape)} in the file but {tuple(own[name].shape)} in the '
        'network'
        for name, tensor in tensors.items()
        if name in own and tensor.shape != own[name].shape
    }
    missing = sorted(own.keys() - tensors.keys())
    unexpected = sorted(tensors.keys() - own.keys())
    heads = _other_heads(backbone, description) if 'pos_embed' in own else []
    problems = [*heads, *misfits.values()] + [
        f'{name} of the {place}'
        for names, place in (
            (missing, 'network is not in the file'),
            (unexpected, 'file has no place in the network'),
        )
        for name in names
        if not NORM.search(name) and not ADDITION.search(name) and name not in dropped
    ]
    matched = len(tensors) - len(unexpected) - len(misfits)
    summary = (
        f'{path}: {matched} tensors of the backbone matched, {len(missing)} missing {missing}, '
        f'{len(unexpected)} unexpected {unexpected}'
    )
    if problems and not (allow_missing and matched):
        listed = '\n'.join(f'  {problem}' for problem in problems[:20])
        rest = f'\n  and {len(problems) - 20} more' if len(problems) > 20 else ''
        layout = ''.join(f' --from {layout}' for layout in fitting_layouts(names)[:1])
        raise CheckpointError(
            f'{path} does not fit the backbone {type(backbone).__name__} ({matched} tensors match):'
            f'\n{listed}{rest}\nUse the architecture that the file was made with, convert the file '
            f'with tools/convert.py{layout}, or accept the gaps with --allow-missing.'
        )
    fitting = {n: t for n, t in tensors.items() if n in own and n not in misfits}
    for part in parts:
        part.load_state_dict(fitting, strict=False)
    print_log(summary, logger='current')
    return summary


def _alias(name: str, own: Mapping[str, Tensor]) -> str:
    """The name under which the network has a tensor."""
    for ours, theirs in ALIASES.items():
        if name not in own and name.endswith(ours):
            alias = name.removesuffix(ours) + theirs
            return alias if alias in own else name
    return name


def _resize_tables(
    tensors: Mapping[str, Tensor], own: Mapping[str, Tensor], backbone: nn.Module, description: dict
) -> dict[str, Tensor]:
    """Position tables as large as the network's; what cannot be resized stays as it is."""
    resized = dict(tensors)
    for name, table in tensors.items():
        target = own.get(name)
        if target is None or table.shape[-1:] != target.shape[-1:]:
            continue
        if name == 'pos_embed':
            has_class = 'cls_token' in tensors
            source = _file_grid(table, has_class, description)
            resized[name] = _resize_position(table, source, has_class, target, backbone)
        elif name.endswith('relative_position_bias_table') and table.shape != target.shape:
            resized[name] = _resize_relative(table, len(target))
    return resized


def _file_grid(table: Tensor, has_class: bool, description: dict) -> tuple[int, int] | None:
    """(h, w) of a position table, by the file's config, or else if it is a square."""
    if table.ndim == 4:
        return tuple(table.shape[1:3])
    num_patches = table.shape[1] - has_class
    size, patch = description.get('img_size'), description.get('patch_size', 16)
    if size is not None:
        height, width = (size, size) if isinstance(size, int) else size
        grid = height // patch, width // patch
        if grid[0] * grid[1] == num_patches:
            return grid
    side = math.isqrt(num_patches)
    return (side, side) if side * side == num_patches else None


def _network_grid(backbone: nn.Module, target: Tensor) -> tuple[int, int]:
    """(h, w) of the network's position table, by the attributes that networks keep it in."""
    if target.ndim == 4:
        return tuple(target.shape[1:3])
    for name in ('patch_resolution', 'patch_shape'):  # mmpretrain's, mmseg's BEiT and MAE
        if hasattr(backbone, name):
            return tuple(getattr(backbone, name))
    if hasattr(backbone, 'img_size') and hasattr(backbone, 'patch_size'):  # mmseg's ViT
        return tuple(side // backbone.patch_size for side in backbone.img_size)
    return (math.isqrt(target.shape[1]),) * 2


def _resize_position(
    table: Tensor,
    source: tuple[int, int] | None,
    has_class: bool,
    target: Tensor,
    backbone: nn.Module,
) -> Tensor:
    """(1, [1+]h·w, D) or (1, h, w, D) -> the target's shape, by bicubic interpolation."""
    grid = _network_grid(backbone, target)
    takes_class = target.ndim == 3 and target.shape[1] > grid[0] * grid[1]
    if source is None or (takes_class and not has_class):
        return table
    if table.ndim == 4:
        table = table.flatten(1, 2)
    if has_class and not takes_class:
        table = table[:, 1:]
    if source != grid:
        mode = getattr(backbone, 'interpolate_mode', 'bicubic')
        table = resize_pos_embed(table, source, grid, mode, num_extra_tokens=int(takes_class))
    return table.unflatten(1, grid) if target.ndim == 4 else table


def _resize_relative(table: Tensor, length: int) -> Tensor:
    """((2w-1)², heads) -> (length, heads): as in Swin's own code, by bicubic interpolation."""
    old, new = math.isqrt(len(table)), math.isqrt(length)
    if old * old != len(table) or new * new != length:
        return table
    planes = table.T.unflatten(1, (old, old)).unsqueeze(0)
    planes = F.interpolate(planes, size=(new, new), mode='bicubic')
    return planes.flatten(2).squeeze(0).T.contiguous()


def _other_heads(backbone: nn.Module, description: dict) -> list[str]:
    """Shapes do not tell the number of attention heads of a vision transformer; the config does."""
    arch = description.get('arch')
    arch = VisionTransformer.arch_zoo.get(arch) if isinstance(arch, str) else arch
    heads = arch.get('num_heads') if isinstance(arch, dict) else None
    own = next((m.num_heads for m in backbone.modules() if hasattr(m, 'num_heads')), heads)
    if not isinstance(heads, int) or not isinstance(own, int) or heads == own:
        return []
    return [f'num_heads is {heads} in the file but {own} in the network']

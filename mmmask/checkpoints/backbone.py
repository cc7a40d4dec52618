"""Loading a pre-trained backbone into a network."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from mmpretrain.models.backbones import VisionTransformer, ViTSAM
from mmpretrain.models.utils import resize_pos_embed
from torch import Tensor, nn

from .channels import adapt_channels
from .configs import describe_backbone
from .files import CONTAINERS, CheckpointError, container_of, find_tensors, open_checkpoint
from .recognition import describe_names, parts, recognize
from .renaming import rename

# Norms after the last block: initialised if the file lacks them, dropped if the network does.
NORM = re.compile(r'^(ln|norm|fc_norm)\d*\.')
# What downstream networks add with initial values that change nothing, and the count of batches,
# which old files lack and on which nothing depends.
COUNT = re.compile(r'num_batches_tracked$')
ADDITION = re.compile(r'rel_pos_[hw]$|attn\.relative_position_bias_table$|gamma|' + COUNT.pattern)
# Constants, which every network computes for its own size.
CONSTANT = re.compile(r'relative_position_index$|attn_mask$')
# Layers that have other names in mmseg's VisionTransformer. All other networks of mmpretrain, mmdet
# and mmseg share their names.
ALIASES = {
    'attn.qkv.weight': 'attn.attn.in_proj_weight',
    'attn.qkv.bias': 'attn.attn.in_proj_bias',
    'attn.proj.weight': 'attn.attn.out_proj.weight',
    'attn.proj.bias': 'attn.attn.out_proj.bias',
}
# How to give mmpretrain's vision transformer the options that a file was made with.
LAYER_SCALE = 'The file has LayerScale: set model.backbone.layer_scale_init_value=1.0.'
QKV_BIAS = 'Queries, keys and values have no bias in the file: set model.backbone.qkv_bias=False.'
CLASS_TOKEN = (
    'The file has no class token: set model.backbone.with_cls_token=False, and for '
    "mmpretrain.VisionTransformer also out_type='avg_featmap'."
)
RELATIVE_POSITIONS = (
    "The file has relative positions as in BEiT: use type='mmpretrain.BEiTViT', with "
    'use_rel_pos_bias=False and use_shared_rel_pos_bias=True if all blocks share one table. It '
    'takes no mask, so it can be evaluated and fine-tuned only.'
)


def load_backbone(
    backbone: nn.Module,
    path: str | Path,
    allow_missing: bool = False,
    shared_head: nn.Module | None = None,
) -> str:
    """Load the encoder of a checkpoint, whichever of the known layouts it has.

    The file is one of this project or of mmpretrain, or of a layout of ``LAYOUTS``, which is
    recognised and named in the log. Only the encoder in it is used; the log says what else a known
    pre-training has. Position tables are interpolated to the network's grid, square or not, and
    tables of relative positions to its windows. A first layer for RGB is adapted to another number
    of channels, see :func:`adapt_channels`. A network without class token ignores one. Windowed
    networks for detection get LayerScale by :func:`fold_layer_scale`.

    Args:
        backbone: network to fill.
        path: checkpoint file, or a folder of Hugging Face's ``save_pretrained``.
        allow_missing: accept gaps, which the returned line names.
        shared_head: contains the last stage in detectors that pool from the stage before (C4).

    Returns:
        One line with the numbers of matched, new and dropped tensors.

    Raises:
        CheckpointError: if a tensor of the encoder in the file has no place in the network, or if a
            tensor of the network is not in the file, apart from norms after the last block and
            additions of downstream networks; even with ``allow_missing`` if the file belongs to a
            network of another kind.
    """
    modules = [backbone] if shared_head is None else [backbone, shared_head]
    own = {n: t for m in modules for n, t in m.state_dict().items() if not CONSTANT.search(n)}
    checkpoint = open_checkpoint(path)
    container = container_of(checkpoint)
    others = [n for n in CONTAINERS if isinstance(checkpoint.get(n), dict) and n != container]
    if others:
        print_log(f"{path}: using '{container}' rather than {', '.join(others)}", logger='current')
    whole = find_tensors(checkpoint, path)
    tensors = {n: t for n, t in find_encoder(whole, own, path).items() if not CONSTANT.search(n)}
    tensors = adapt_channels(tensors, own, path)
    if isinstance(backbone, ViTSAM):  # it has no LayerScale, as in detectors
        tensors = fold_layer_scale(tensors)
    description = describe_backbone(checkpoint.get('meta') or {})
    tensors = _resize_tables(tensors, own, backbone, description)
    # In pre-training norms may follow the merging of patches, where maps are wider.
    tensors = {
        name: tensor
        for name, tensor in tensors.items()
        if name not in own or tensor.shape == own[name].shape or not NORM.search(name)
    }

    known = tensors.keys() & own.keys()
    misfits = [name for name in tensors if name in own and tensors[name].shape != own[name].shape]
    missing = sorted(own.keys() - tensors.keys())
    unexpected = sorted(tensors.keys() - own.keys())
    absent = [n for n in missing if not NORM.search(n) and not ADDITION.search(n)]
    unplaced = [n for n in unexpected if not NORM.search(n) and not COUNT.search(n)]
    # The mask token belongs to the method, but is in the encoder of mmpretrain's SimMIM.
    unplaced = [name for name in unplaced if name not in ('cls_token', 'mask_token')]
    problems = [
        *(_other_heads(backbone, description) if 'pos_embed' in own else []),
        *(
            f'{name} is {tuple(tensors[name].shape)} in the file but {tuple(own[name].shape)} in '
            'the network'
            for name in misfits
        ),
        *(f'{name} of the network is not in the file' for name in absent),
        *(f'{name} of the file has no place in the network' for name in unplaced),
    ]
    matched = len(known) - len(misfits)
    summary = (
        f'{path}: {matched} tensors of the backbone matched, {len(missing)} missing {missing}, '
        f'{len(unexpected)} unexpected {unexpected}'
    )
    is_near = 2 * len(known) >= min(len(own), len(tensors))
    is_near = is_near and is_beit(own) == is_beit(tensors)
    if problems and not (allow_missing and matched and is_near):
        if is_near:
            shapes = [(tensors[name].shape, own[name].shape) for name in misfits]
            reason = _list(problems) + _advise(absent, unplaced, own, tensors, shapes, matched)
        else:
            reason = f' the file {describe_names(whole)}'
            reason += f' {RELATIVE_POSITIONS}' if is_beit(tensors) else ''
        raise CheckpointError(
            f'{path} does not fit the backbone {type(backbone).__name__} ({matched} tensors match):'
            f'{reason}'
        )
    for module in modules:
        fitting = {name: tensors[name] for name in known.difference(misfits)}
        module.load_state_dict(fitting, strict=False)
    print_log(summary, logger='current')
    return summary


def fold_layer_scale(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Multiply LayerScale into the linear layers before it, which gives the same features."""
    folded = dict(tensors)
    for branch, scale, layer in (('attn', 'gamma1', 'proj'), ('ffn', 'gamma2', 'layers.1')):
        ending = f'{branch}.{scale}.weight'
        for name in [name for name in tensors if name.endswith(ending)]:
            factor, linear = folded.pop(name), name.removesuffix(ending) + f'{branch}.{layer}'
            folded[f'{linear}.weight'] = folded[f'{linear}.weight'] * factor[:, None]
            folded[f'{linear}.bias'] = folded[f'{linear}.bias'] * factor
    return folded


def is_beit(names: Iterable[str]) -> bool:
    """Whether a network has BEiT's biases, and so relative positions."""
    return any(name.endswith('.q_bias') for name in names)


def _list(problems: list[str]) -> str:
    lines = problems[:20] + ([f'and {len(problems) - 20} more'] if len(problems) > 20 else [])
    return ''.join(f'\n  {line}' for line in lines)


def _advise(
    absent: list[str],
    unplaced: list[str],
    own: Iterable[str],
    tensors: Iterable[str],
    shapes: list[tuple[Sequence[int], Sequence[int]]],
    matched: int,
) -> str:
    """How to make a network fit a file of the same kind.

    ``own`` are the names of the network and ``tensors`` those of the file. An option helps only if
    the other side has no such tensor at all, as opposed to fewer layers. ``shapes`` are those in
    the file and in the network of the tensors whose shapes differ.
    """
    remedies = [
        remedy
        for part, names, others, remedy in (
            ('gamma', unplaced, own, LAYER_SCALE),
            ('qkv.bias', absent, tensors, QKV_BIAS),
            ('cls_token', absent, tensors, CLASS_TOKEN),
        )
        if any(part in name for name in names) and not any(part in name for name in others)
    ]
    if len(shapes) == 1:
        theirs, ours = shapes[0]
        if len(theirs) == 4 and (theirs[0], *theirs[2:]) == (ours[0], *ours[2:]):
            remedies.append(
                f'The file takes images of {theirs[1]} channels: set in_channels={theirs[1]}.'
            )
    remedies = remedies or ['Use the architecture that the file was made with.']
    if matched:
        remedies.append('--allow-missing accepts the gaps.')
    return '\n' + ' '.join(remedies)


def find_encoder(
    tensors: Mapping[str, Tensor], own: Mapping[str, Tensor], path: str | Path
) -> dict[str, Tensor]:
    """The encoder of a file by the network's names, from a known layout or from these names."""
    match = recognize(tensors)
    if match.fits:
        renamed = rename(match.tensors, match.layout, 'theirs', {'backbone'}).tensors
        encoder = {name.removeprefix('backbone.'): t for name, t in renamed.items()}
        if encoder.keys() != match.tensors.keys():
            print_log(f'{path}: recognised as {match}', logger='current')
        others = [r.theirs[0] for r in match.account.rules if r.section != 'backbone']
        if others:
            print_log(
                f'{path}: the encoder alone is used, without {len(others)} other tensors such as '
                f'{others[0]} and {others[-1]}. To fill a whole model, use load_from.',
                logger='current',
            )
        tensors = encoder
    else:

        def num_known(part: tuple[str, Mapping[str, Tensor]]) -> tuple[int, bool]:
            return sum(_alias(name, own) in own for name in part[1]), part[0] == 'backbone.'

        _, tensors = max(parts(tensors), key=num_known)
    return {_alias(name, own): tensor for name, tensor in tensors.items()}


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
    """((2w-1)², heads) -> (length, heads): as in Swin's own code, by bicubic interpolation.

    Three more rows at the end, for pairs with the class token of BEiT, stay as they are.
    """
    num_extra = 0 if math.isqrt(len(table)) ** 2 == len(table) else 3
    table, extra = table.split([len(table) - num_extra, num_extra])
    old, new = math.isqrt(len(table)), math.isqrt(length - num_extra)
    if old * old != len(table) or new * new != length - num_extra:
        return torch.cat([table, extra])
    planes = table.T.unflatten(1, (old, old)).unsqueeze(0)
    planes = F.interpolate(planes, size=(new, new), mode='bicubic')
    return torch.cat([planes.flatten(2).squeeze(0).T, extra])


def _other_heads(backbone: nn.Module, description: dict) -> list[str]:
    """A difference in attention heads, which no tensor of a vision transformer reveals."""
    arch = description.get('arch')
    arch = VisionTransformer.arch_zoo.get(arch) if isinstance(arch, str) else arch
    heads = (arch if isinstance(arch, dict) else description).get('num_heads')
    own = next((m.num_heads for m in backbone.modules() if hasattr(m, 'num_heads')), heads)
    if not isinstance(heads, int) or not isinstance(own, int) or heads == own:
        return []
    return [f'num_heads is {heads} in the file but {own} in the network']

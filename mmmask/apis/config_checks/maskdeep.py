"""The levels, views and targets of MaskDeep."""

from collections.abc import Iterator
from typing import NamedTuple

from mmpretrain.models.backbones import ResNet
from mmpretrain.models.backbones.resnet import get_expansion

from mmmask.engine.hooks import CollapseHook, MomentumUpdateHook
from mmmask.masking import FeatureGroupMask
from mmmask.models import DeepMaskingNeck, MaskDeep

from ..config_nodes import Node
from .encoder import num_views
from .rules import (
    as_list,
    is_a,
    is_number,
    is_positive,
    must_divide,
    must_move,
    must_suit_sincos,
    node_at,
    tell_key,
)


class Neck(NamedTuple):
    """The neck, the channels of the maps that it reads, and the levels of its targets."""

    node: Node
    channels: list[int]
    targets: list[int]


def _whole_numbers(node: Node, key: str) -> list[int]:
    """A list of whole numbers, empty if it is anything else."""
    values = node.argument(key)
    is_list = isinstance(values, list | tuple) and all(isinstance(item, int) for item in values)
    return list(values) if is_list else []


def _neck(nodes: list[Node]) -> Neck | None:
    node = node_at(nodes, 'model.neck')
    if not is_a(node, DeepMaskingNeck):
        return None
    try:
        targets = [int(level) for level, _ in node.argument('targets')]
    except (TypeError, ValueError):  # no pairs of a level and what is done to it
        targets = []
    channels = node.argument('in_channels')  # by default those of the maps
    return Neck(node, _levels(nodes) if channels is None else as_list(channels), targets)


def _levels(nodes: list[Node]) -> list[int]:
    """Channels of the maps that the neck gets, where a pyramid or a ResNet gives them."""
    backbone, pyramid = node_at(nodes, 'model.backbone'), node_at(nodes, 'model.fpn')
    if pyramid is not None:
        return [pyramid.argument('out_channels')] * len(_whole_numbers(backbone, 'out_indices'))
    depth, base = map(backbone.argument, ('depth', 'base_channels')) if backbone else (None, None)
    if not is_a(backbone, ResNet) or not (is_positive(depth) and is_positive(base)):
        return []
    block, _ = backbone.built.arch_settings.get(depth, (None, None))
    indices = _whole_numbers(backbone, 'out_indices')
    return [base * get_expansion(block) * 2**index for index in indices] if block else []


def check_levels(cfg: dict, nodes: list[Node]) -> Iterator[str]:
    """Encoder, masks and neck of MaskDeep have the same levels, down to the last stage."""
    backbone, masking = node_at(nodes, 'model.backbone'), node_at(nodes, 'model.masking')
    neck, levels = _neck(nodes), _levels(nodes)
    if not is_a(node_at(nodes, 'model'), MaskDeep) or backbone is None:
        return
    indices, stages = _whole_numbers(backbone, 'out_indices'), backbone.argument('num_stages')
    if indices and is_positive(stages) and stages - 1 not in indices:
        remedy = f'must end with {stages - 1}, the last stage, of which the target is made'
        yield tell_key(backbone, 'out_indices', remedy)
    if neck is None:
        return
    node, fusion, number = neck.node, neck.node.argument('fusion'), len(neck.channels) or 1
    if levels and neck.channels != levels:
        remedy = f'must be {levels}, the channels of the maps of model.backbone'
        remedy += ' behind model.fpn' if node_at(nodes, 'model.fpn') else ''
        yield tell_key(node, 'in_channels', remedy)
    if (masking is None) != (fusion is None):
        remedy = 'masking and neck.fusion go together: give both, or set both to None for BYOL'
        yield tell_key(node, 'fusion', remedy)
    is_read = {level % number for level in neck.targets}
    if fusion is None and 0 < len(is_read) < number:
        remedy = f'without masking only level {max(is_read)} is read, the others would not train'
        yield tell_key(node, 'in_channels', remedy)
    if any(not -number <= level < number for level in neck.targets):
        remedy = f'levels are 0 to {number - 1}, or counted from -1 backwards'
        yield tell_key(node, 'targets', remedy)
    width, heads = map(node.argument, ('embed_dims', 'num_heads'))
    yield from must_divide(node.path, width, heads)
    yield from must_suit_sincos(node.path, width)
    if not is_a(masking, FeatureGroupMask):
        return
    ratios = as_list(masking.argument('ratios'))
    if len(ratios) != number:
        remedy = f'must be {number} ratios, one for each level of model.neck'
        yield tell_key(masking, 'ratios', remedy)
    if any(not (is_number(ratio) and 0 <= ratio < 1) for ratio in ratios):
        remedy = 'must lie in [0, 1), the share of positions to hide, such as 0.75'
        yield tell_key(masking, 'ratios', remedy)
    if not is_positive(masking.argument('num_groups')):
        yield tell_key(masking, 'num_groups', 'must be a whole number, at least 1')


def check_momentum_targets(cfg: dict, nodes: list[Node]) -> Iterator[str]:
    """MaskDeep gets the views that it learns from, and its targets move and are watched."""
    model, views = node_at(nodes, 'model'), num_views(nodes)
    if not is_a(model, MaskDeep):
        return
    online, own = map(model.argument, ('num_views', 'include_self_target'))
    least = max(online, 2 - bool(own)) if is_positive(online) else None
    if least is None:
        yield tell_key(model, 'num_views', 'must be a whole number, at least 1')
    elif views is not None and views < least:
        remedy = f'the data has {views} view(s) of each image but {least} are needed'
        yield tell_key(model, 'num_views', f'{remedy}, add some to MultiView or lower it')
    for key in ('momentum', 'final_momentum'):
        value = model.argument(key)
        if not (is_number(value) and 0 <= value <= 1):
            yield tell_key(model, key, 'must lie in [0, 1], such as 0.99')
    yield from must_move(nodes, model, 'momentum', MomentumUpdateHook)
    neck = _neck(nodes)
    if neck is None or not neck.targets:
        return
    number = len(neck.channels) or 1
    places = {f'target.module.projectors.{level % number}' for level in neck.targets}
    for node in nodes:
        place = node.config.get('module')
        if is_a(node, CollapseHook) and str(place).startswith('target.') and place not in places:
            remedy = f'does not give the targets, use {" or ".join(sorted(places))}'
            yield tell_key(node, 'module', remedy)


CHECKS = (check_levels, check_momentum_targets)

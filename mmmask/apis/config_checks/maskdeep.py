"""The levels, views and targets of MaskDeep."""

from collections.abc import Iterator

from mmpretrain.models.backbones import ResNet
from mmpretrain.models.backbones.resnet import get_expansion

from mmmask.engine.hooks import CollapseHook, MomentumUpdateHook
from mmmask.masking import FeatureGroupMask
from mmmask.models import DeepMaskingNeck, MaskDeep

from ..config_nodes import Node
from .encoder import num_views
from .rules import (
    is_a,
    is_number,
    is_positive,
    must_divide,
    must_move,
    must_suit_sincos,
    node_at,
    tell_key,
)


def _levels(nodes: list[Node]) -> list[int] | None:
    """Channels of the maps that the neck of MaskDeep reads, where the backbone is a ResNet."""
    backbone, pyramid = node_at(nodes, 'model.backbone'), node_at(nodes, 'model.fpn')
    if pyramid is not None:
        widths = pyramid.argument('in_channels')
        return [pyramid.argument('out_channels')] * len(widths) if widths else None
    if not is_a(backbone, ResNet):
        return None
    depth, base, indices = map(backbone.argument, ('depth', 'base_channels', 'out_indices'))
    if depth not in backbone.built.arch_settings or not is_positive(base):
        return None
    expansion = get_expansion(backbone.built.arch_settings[depth][0])
    return [base * expansion * 2**index for index in indices]


def check_levels(cfg: dict, nodes: list[Node]) -> Iterator[str]:
    """Encoder, masks and neck of MaskDeep have the same levels, down to the last stage."""
    if not is_a(node_at(nodes, 'model'), MaskDeep):
        return
    backbone, neck = node_at(nodes, 'model.backbone'), node_at(nodes, 'model.neck')
    masking, levels = node_at(nodes, 'model.masking'), _levels(nodes)
    indices, stages = backbone.argument('out_indices'), backbone.argument('num_stages')
    if indices and stages and stages - 1 not in indices:
        remedy = f'must end with {stages - 1}, the last stage, of which the target is made'
        yield tell_key(backbone, 'out_indices', remedy)
    if not is_a(neck, DeepMaskingNeck):
        return
    channels, fusion, targets = map(neck.argument, ('in_channels', 'fusion', 'targets'))
    if levels and list(channels) != levels:
        remedy = f'must be {levels}, the channels of the maps of model.backbone'
        remedy += ' behind model.fpn' if node_at(nodes, 'model.fpn') else ''
        yield tell_key(neck, 'in_channels', remedy)
    if (masking is None) != (fusion is None):
        remedy = 'masking and neck.fusion go together: give both, or set both to None for BYOL'
        yield tell_key(neck, 'fusion', remedy)
    is_read = {level % len(channels) for level, _ in targets}
    if fusion is None and len(is_read) < len(channels):
        remedy = f'without masking only level {max(is_read)} is read, the others would not train'
        yield tell_key(neck, 'in_channels', remedy)
    if any(not -len(channels) <= level < len(channels) for level, _ in targets):
        remedy = f'levels are 0 to {len(channels) - 1}, or counted from -1 backwards'
        yield tell_key(neck, 'targets', remedy)
    width, heads = map(neck.argument, ('embed_dims', 'num_heads'))
    yield from must_divide(neck.path, width, heads)
    yield from must_suit_sincos(neck.path, width)
    if not is_a(masking, FeatureGroupMask):
        return
    ratios, groups = map(masking.argument, ('ratios', 'num_groups'))
    if len(ratios) != len(channels):
        remedy = f'must be {len(channels)} ratios, one for each level of model.neck'
        yield tell_key(masking, 'ratios', remedy)
    if any(not (is_number(ratio) and 0 <= ratio < 1) for ratio in ratios):
        remedy = 'must lie in [0, 1), the share of positions to hide, such as 0.75'
        yield tell_key(masking, 'ratios', remedy)
    if not is_positive(groups):
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
    neck = node_at(nodes, 'model.neck')
    if not is_a(neck, DeepMaskingNeck):
        return
    num_levels = len(neck.argument('in_channels'))
    places = {f'target.module.projectors.{lv % num_levels}' for lv, _ in neck.argument('targets')}
    for node in nodes:
        place = node.config.get('module')
        if is_a(node, CollapseHook) and str(place).startswith('target.') and place not in places:
            remedy = f'does not give the targets, use {" or ".join(sorted(places))}'
            yield tell_key(node, 'module', remedy)


CHECKS = (check_levels, check_momentum_targets)

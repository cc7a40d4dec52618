"""Views that are compared: the contrastive and position tasks of the two methods called CMAE."""

import re
from collections.abc import Iterator

from mmpretrain.datasets.transforms import MultiView

from mmmask.engine.hooks import MomentumUpdateHook, ProgressHook, RefreshCropsHook
from mmmask.models import CMAEHuang, CMAEMao, PositionHead
from mmmask.models.algorithms.cmae_mao import SOURCES, TARGETS
from mmmask.models.heads.position import INPUTS, LOSSES

from ..config_nodes import Node
from .encoder import encoder_of, image_sizes, num_views
from .rules import (
    first_of,
    is_a,
    is_number,
    is_positive,
    must_be,
    must_be_known,
    must_move,
    node_at,
    tell,
    tell_key,
    value_at,
)


def check_views(cfg: dict, nodes: list[Node]) -> Iterator[str]:
    """A method that compares views of an image gets enough of them."""
    model, pipeline = node_at(nodes, 'model'), re.compile(r'train_dataloader\..*\bpipeline\.\d+')
    needed = getattr(getattr(model, 'built', None), 'num_views', 1)
    transforms = [node for node in nodes if pipeline.fullmatch(node.path)]
    views = num_views(nodes)
    views = 1 if views is None else views
    if transforms and isinstance(needed, int) and views < needed:
        remedy = (
            f'gives {views} view of each image, but {model.config["type"]} compares {needed}, use '
            "dict(type='mmpretrain.MultiView', num_views=[1, 1], transforms=[[...], [...]])"
        )
        maker = first_of(transforms, MultiView)
        if maker:
            yield tell_key(maker, 'num_views', remedy)
        else:
            types = [transform.argument('type') for transform in transforms]
            yield tell(transforms[0].path.rpartition('.')[0], types, remedy)


def check_contrast(cfg: dict, nodes: list[Node]) -> Iterator[str]:
    """The contrastive task."""
    model, head = node_at(nodes, 'model'), node_at(nodes, 'model.contrast_head')
    if not is_a(model, (CMAEMao, CMAEHuang)):
        return
    for key in ('reconstruction_weight', 'contrast_weight', 'position_weight'):
        value = model.argument(key)
        if value is not None and not (is_number(value) and value >= 0):
            yield tell_key(model, key, 'must be a number, 0 to do without the task')
    if head is None or not model.argument('contrast_weight'):
        return
    if is_a(model, CMAEMao):
        yield from must_be_known(model, 'source', SOURCES, 'source')
        yield from must_be_known(model, 'target', TARGETS, 'target')
    momentum, temperature = model.argument('momentum'), head.argument('temperature')
    if not (is_number(temperature) and temperature > 0):
        yield tell_key(head, 'temperature', 'must be above 0, such as 0.07 to 1')
    if is_a(model, CMAEHuang) or str(model.argument('target')).startswith('momentum'):
        if not (is_number(momentum) and 0 <= momentum <= 1):
            remedy = 'must lie in [0, 1], the share of the old copy, such as 0.999'
            yield tell_key(model, 'momentum', remedy)
        yield from must_move(nodes, model, 'momentum', MomentumUpdateHook)
    batch = value_at(cfg, 'train_dataloader.batch_size')
    if is_positive(batch) and batch < 2:
        remedy = 'must be at least 2, images are compared with one another'
        yield tell('train_dataloader.batch_size', batch, remedy)
    hook, source = first_of(nodes, RefreshCropsHook), model.argument('source')
    if hook and hook.argument('heat_map') == 'cls_attn' and source in SOURCES[1:]:
        remedy = (
            f'looks at the class token, but model.source = {source!r} does not '
            "train it to find the object, use 'feat_norm'"
        )
        yield tell_key(hook, 'heat_map', remedy)
    yield from _check_projections(nodes, model)


def _check_projections(nodes: list[Node], model: Node) -> Iterator[str]:
    """Projector and predictor read what is given to them, and the features what they stand for."""
    encoder, decoder = encoder_of(nodes), node_at(nodes, 'model.neck')
    projector = node_at(nodes, 'model.projector')
    predictor = node_at(nodes, 'model.contrast_head.predictor')
    width, source = encoder and encoder.width, 'the width of model.backbone'
    if model.argument('source') == 'decoder_cls':
        width = decoder and decoder.argument('out_channels')
        source = 'the width of model.neck.out_channels'
    yield from must_be(node_at(nodes, 'model.feature_decoder'), 'out_channels', width, source)
    yield from must_be(projector, 'in_channels', width, source)
    projected = projector and projector.argument('out_channels')
    for key in ('in_channels', 'out_channels'):
        source = 'the width of model.projector.out_channels'
        yield from must_be(predictor, key, projected, source)


def check_positions(cfg: dict, nodes: list[Node]) -> Iterator[str]:
    """The task of telling positions knows as many as there are patches."""
    model, encoder = node_at(nodes, 'model'), encoder_of(nodes)
    node = node_at(nodes, 'model.position_head')
    if not model or not is_a(node, PositionHead) or model.argument('position_weight') == 0:
        return
    yield from must_be_known(node, 'loss', LOSSES, 'loss')
    yield from must_be_known(node, 'input_pe', INPUTS, 'input_pe')
    if encoder:
        yield from must_be(node, 'in_channels', encoder.width, 'the width of model.backbone')
    for path, size in image_sizes(nodes).items() if encoder else ():
        patches = size[0] // encoder.unit * (size[1] // encoder.unit)
        told = [*must_be(node, 'num_positions', patches, f'the patches of {path} = {size}')]
        if told:
            yield from told
            break
    if node.argument('smoothing'):
        yield from must_move(nodes, node, 'smoothing', ProgressHook)


CHECKS = (check_views, check_contrast, check_positions)

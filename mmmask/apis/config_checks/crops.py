"""Crops around objects, and the hook that looks for them."""

import inspect
from collections.abc import Iterator

from mmengine.dataset import BaseDataset
from mmengine.runner import IterBasedTrainLoop
from mmpretrain.models.backbones import VisionTransformer

from mmmask.datasets import ContrastiveCrop
from mmmask.engine.hooks import RefreshCropsHook
from mmmask.engine.hooks.refresh_crops import is_due
from mmmask.models.heat_maps import HEAT_MAPS

from ..config_nodes import Node
from .rules import first_of, is_a, is_number, is_positive, must_be_known, node_at, tell_key

# Parts of the names of transforms that move what is in an image.
MOVING = ('Affine', 'Albu', 'Augment', 'Crop', 'Flip', 'Rotate', 'Shear', 'Translate')


def check_crops(cfg: dict, nodes: list[Node]) -> Iterator[str]:
    """ContrastiveCrop and the hook that finds its boxes need each other, and numbered images."""
    hook = first_of(nodes, RefreshCropsHook)
    crops = [node for node in nodes if is_a(node, ContrastiveCrop)]
    guided = [node for node in crops if node.config.get('box') is None]
    for node in guided:
        if not node.path.startswith('train_dataloader.'):
            remedy = 'boxes are found for train_dataloader only, give box or another crop'
            yield tell_key(node, 'type', remedy)
        elif hook is None:
            remedy = (
                "gets no boxes, add dict(type='mmmask.RefreshCropsHook') to the hooks, or give it "
                'a fixed box such as (0.25, 0.25, 0.75, 0.75)'
            )
            yield tell_key(node, 'type', remedy)
        owner = node_at(nodes, node.path.partition('.pipeline.')[0])
        if owner and inspect.isclass(owner.built) and not issubclass(owner.built, BaseDataset):
            remedy = 'does not number its images for ContrastiveCrop, take a mmmask.ImageFolder'
            yield tell_key(owner, 'type', remedy)
        for other in _before(node, nodes):
            name = other.built.__name__  # the middle is the same in the search for boxes
            if name != 'CenterCrop' and any(part in name for part in MOVING):
                remedy = f'moves the image away from its box, put it after {node.path}'
                yield tell_key(other, 'type', remedy)
    if hook is not None:
        if not guided:
            remedy = 'finds boxes that nothing uses, put mmmask.ContrastiveCrop into the pipeline'
            yield tell_key(hook, 'type', remedy)
        yield from _check_search(hook, nodes)


def _before(crop: Node, nodes: list[Node]) -> Iterator[Node]:
    """The transforms that an image goes through before a crop, outside or in its own view."""
    crop_keys = crop.path.split('.')
    for node in nodes:
        *place, number = node.path.split('.')
        depth = len(place)
        if (
            inspect.isclass(node.built)
            and number.isdigit()
            and place == crop_keys[:depth]
            and place[-1] != 'transforms'  # whose items are the views
            and int(number) < int(crop_keys[depth])
        ):
            yield node


def _check_search(hook: Node, nodes: list[Node]) -> Iterator[str]:
    """What RefreshCropsHook is told fits the model and the length of the run."""
    kind, threshold, warmup, interval = map(
        hook.argument, ('heat_map', 'threshold', 'warmup', 'interval')
    )
    backbone, loop = node_at(nodes, 'model.backbone'), node_at(nodes, 'train_cfg')
    yield from must_be_known(hook, 'heat_map', HEAT_MAPS, 'heat-map')
    if kind == 'cls_attn' and backbone is not None:
        has_class_token = backbone.argument('with_cls_token') is not False
        if not (is_a(backbone, VisionTransformer) and has_class_token):
            remedy = "needs a vision transformer with a class token, use 'feat_norm' or 'feat_sum'"
            yield tell_key(hook, 'heat_map', remedy)
    if not (is_number(threshold) and 0 < threshold < 1):
        yield tell_key(hook, 'threshold', 'must lie in (0, 1), such as 0.3')
    for name, value in (('warmup', warmup), ('interval', interval)):
        is_count = is_number(value) and value >= 0
        if not is_count or (value > 1 and value % 1) or (name == 'interval' and value == 0):
            remedy = 'must be a number of epochs, or below 1 a share of them, such as 0.2'
            yield tell_key(hook, name, remedy)
            return
    if is_a(loop, IterBasedTrainLoop):
        remedy = 'counts epochs, train by epochs or give ContrastiveCrop a fixed box'
        yield tell_key(hook, 'type', remedy)
        return
    epochs = loop.config.get('max_epochs') if loop else None
    if is_positive(epochs) and not any(
        is_due(epoch, epochs, warmup, interval) for epoch in range(1, epochs + 1)
    ):
        remedy = (
            f'with warmup = {warmup} no box is ever found in {epochs} epochs, lower them, for '
            'example to warmup=0.2, interval=0.2'
        )
        yield tell_key(hook, 'interval', remedy)


CHECKS = (check_crops,)

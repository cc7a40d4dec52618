"""Crops around objects, and the hook that looks for them."""

import inspect
from collections.abc import Iterator

from mmengine.dataset import BaseDataset
from mmengine.runner import IterBasedTrainLoop
from mmpretrain.models.backbones import VisionTransformer

from mmmask.datasets import ContrastiveCrop
from mmmask.engine.hooks import RefreshCropsHook
from mmmask.engine.hooks.refresh_crops import is_due

from ..config_nodes import Node
from .rules import Plan, is_a, is_positive, report_key

# Parts of the names of transforms that move what is in an image.
MOVING = ('Affine', 'Albu', 'Augment', 'Crop', 'Flip', 'Rotate', 'Shear', 'Translate')


def check_crops(plan: Plan) -> Iterator[str]:
    """ContrastiveCrop and the hook that finds its boxes need each other, and numbered images."""
    hook = plan.first(RefreshCropsHook)
    crops = [node for node in plan.nodes if is_a(node, ContrastiveCrop)]
    guided = [node for node in crops if node.config.get('box') is None]
    for node in guided:
        if not node.path.startswith('train_dataloader.'):
            rule = 'gets boxes in train_dataloader only: give it a fixed box or use another crop'
            yield report_key(node, 'type', rule)
        elif hook is None:
            rule = (
                "gets no boxes: add dict(type='mmmask.RefreshCropsHook') to the hooks, or give it "
                'a fixed box such as (0.25, 0.25, 0.75, 0.75)'
            )
            yield report_key(node, 'type', rule)
        owner = plan.node(node.path.partition('.pipeline.')[0])
        if owner and inspect.isclass(owner.built) and not issubclass(owner.built, BaseDataset):
            rule = 'does not number its images for ContrastiveCrop: use a mmmask.ImageFolder'
            yield report_key(owner, 'type', rule)
        for other in _before(node, plan.nodes):
            name = other.built.__name__  # the middle is the same in the search for boxes
            if name != 'CenterCrop' and any(part in name for part in MOVING):
                rule = f'moves the image away from its box: put it after {node.path}'
                yield report_key(other, 'type', rule)
    if hook is not None:
        if not guided:
            rule = 'finds boxes that nothing uses: put mmmask.ContrastiveCrop into the pipeline'
            yield report_key(hook, 'type', rule)
        yield from _check_search(hook, plan)


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


def _check_search(hook: Node, plan: Plan) -> Iterator[str]:
    """The search for boxes fits the model and the length of the run."""
    search, loop = plan.part(hook.path), plan.node('train_cfg')
    if not isinstance(search, RefreshCropsHook):
        return
    backbone = plan.node('model.backbone')
    if search.heat_map == 'cls_attn' and backbone is not None:
        rule = None
        if not is_a(backbone, VisionTransformer) or backbone.argument('with_cls_token') is False:
            rule = 'needs a vision transformer with a class token'
        elif not getattr(plan.part('model'), 'trains_class_token', True):
            rule = 'needs a class token that is trained to find the object'
        if rule:
            yield report_key(hook, 'heat_map', f"{rule}: use 'feat_norm' or 'feat_sum'")
    if is_a(loop, IterBasedTrainLoop):
        rule = 'counts epochs: train by epochs, or give ContrastiveCrop a fixed box'
        yield report_key(hook, 'type', rule)
        return
    epochs = loop.config.get('max_epochs') if loop else None
    if is_positive(epochs) and not any(
        is_due(epoch, epochs, search.warmup, search.interval) for epoch in range(1, epochs + 1)
    ):
        rule = (
            f'finds no box in {epochs} epochs with warmup={search.warmup}: lower them, for example '
            'to warmup=0.2, interval=0.2'
        )
        yield report_key(hook, 'interval', rule)


CHECKS = (check_crops,)

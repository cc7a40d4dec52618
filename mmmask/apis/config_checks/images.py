"""The images of the data pipeline: their size and their views."""

import logging
import re
from collections.abc import Iterator

from mmengine.config import Config
from mmengine.logging import print_log
from mmpretrain.datasets.transforms import MultiView
from mmpretrain.models.backbones import VisionTransformer

from mmmask.datasets import ShiftedCrop
from mmmask.models import AugmentingDataPreprocessor

from ..config_nodes import Node, find_nodes
from .rules import Plan, is_a, is_positive, report, report_key

PIPELINE = re.compile(r'(train_dataloader\..*\bpipeline)\.\d+')


def _sides(size) -> tuple[int, int] | None:
    sides = tuple(size) if isinstance(size, list | tuple) else (size, size)
    return sides if len(sides) == 2 and all(map(is_positive, sides)) else None


def _augmentation(nodes: list[Node]) -> Node | None:
    """The data preprocessor, if it augments images."""
    nodes = [node for node in nodes if node.path == 'model.data_preprocessor']
    return nodes[0] if nodes and is_a(nodes[0], AugmentingDataPreprocessor) else None


def image_sizes(nodes: list[Node]) -> dict[str, tuple[int, int]]:
    """Sizes of the training images: of the last crops, or else of the last resizing."""
    crops, resizings = {}, {}
    windows = [f'{node.path}.size' for node in nodes if is_a(node, ShiftedCrop)]  # out of crops
    for node in nodes:
        name = getattr(node.built, '__name__', '')
        if node.path.startswith('train_dataloader.') and ('Crop' in name or 'Resize' in name):
            for key in ('scale', 'crop_size', 'size'):
                if sides := _sides(node.config.get(key)):
                    (crops if 'Crop' in name else resizings)[f'{node.path}.{key}'] = sides
    augmentation = _augmentation(nodes)
    if augmentation and (sides := _sides(augmentation.config.get('size'))):
        return {f'{augmentation.path}.size': sides}
    crops = {path: size for path, size in crops.items() if path in windows or not windows}
    return crops or dict(list(resizings.items())[-1:])


def first_image_size(cfg: Config) -> tuple[int, int]:
    """(H, W) of the training images of a config.

    Raises:
        ValueError: if no transform states a size.
    """
    (size, *_) = image_sizes(find_nodes(dict(cfg.items()))).values()
    return size


def check_patches(plan: Plan) -> Iterator[str]:
    """Patches tile the images; a warning if positions are interpolated at every step."""
    backbone = plan.node('model.backbone')
    if not is_a(backbone, VisionTransformer):
        return
    declared, patch = _sides(backbone.argument('img_size')), backbone.argument('patch_size')
    is_built = plan.part('model.backbone') is not None  # and has been tried
    for path, size in image_sizes(plan.nodes).items():
        if not is_built and is_positive(patch) and any(side % patch for side in size):
            yield report(path, size, f'must be a multiple of {patch}, a patch of model.backbone')
        elif sorted(size) != sorted(declared or size):
            print_log(
                f'{path}={size} differs from model.backbone.img_size={declared}: the position '
                'embedding is interpolated at every step.',
                logger='current',
                level=logging.WARNING,
            )


def check_views(plan: Plan) -> Iterator[str]:
    """A method that compares views of an image gets enough of them."""
    transforms = [node for node in plan.nodes if PIPELINE.fullmatch(node.path)]
    needed = getattr(plan.part('model'), 'min_views', 1)
    if not transforms or not is_positive(needed):
        return
    path = transforms[0].path.rpartition('.')[0]
    if maker := _augmentation(plan.nodes):
        key, views = 'views', len(maker.argument('views') or ())
    elif maker := next((node for node in transforms if is_a(node, MultiView)), None):
        key, views = 'num_views', maker.argument('num_views')
        views = sum(filter(is_positive, views if isinstance(views, list | tuple) else [views]))
    else:
        key, views = None, 1
    if views >= needed:
        return
    rule = f'gives {views} view(s) of each image, but {plan.node("model").name} compares {needed}'
    if maker:
        yield report_key(maker, key, f'{rule}: add views')
    else:
        remedy = "dict(type='mmpretrain.MultiView', num_views=[1, 1], transforms=[[...], [...]])"
        yield report(path, [node.name for node in transforms], f'{rule}: use {remedy}')


CHECKS = (check_patches, check_views)

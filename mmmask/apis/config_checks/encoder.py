"""The encoder, the images that it sees, and how it cuts them into patches and windows."""

import logging
from collections.abc import Iterator
from typing import NamedTuple

from mmengine.logging import print_log
from mmpretrain.datasets.transforms import MultiView
from mmpretrain.models.backbones import VisionTransformer

from mmmask.datasets import ShiftedCrop
from mmmask.masking import BlockMask
from mmmask.models import (
    AugmentingDataPreprocessor,
    MaskedSwinTransformer,
    MaskedVisionTransformer,
)

from ..config_nodes import Node
from .rules import (
    as_list,
    is_a,
    is_positive,
    must_be_known,
    must_divide,
    must_suit_sincos,
    node_at,
    tell,
    tell_key,
)


class Tap(NamedTuple):
    """Width of the tokens that a decoder reads, and the pixels along the side of one."""

    width: int
    pixels: int


class Encoder(NamedTuple):
    """What the other boxes must agree with: one possible tap after each block or stage."""

    node: Node
    blocks: list[Tap]
    indices: list[int]

    @property
    def width(self) -> int:
        """Channels of the last tokens."""
        return self.blocks[-1].width

    @property
    def unit(self) -> int:
        """Pixels along the side of what is masked at once."""
        return self.blocks[-1].pixels

    def tap(self, index: int, number: int) -> Tap | None:
        """What decoder ``index`` of ``number`` reads: a single one reads the last tap."""
        chosen = self.indices[-1:] if number == 1 else self.indices
        is_there = len(chosen) == number and 0 <= chosen[index] < len(self.blocks)
        return self.blocks[chosen[index]] if is_there else None


def _architecture(node: Node) -> dict:
    arch = node.argument('arch')
    settings = node.built.arch_zoo.get(arch) if isinstance(arch, str) else arch
    return settings if isinstance(settings, dict) else {}


def encoder_of(nodes: list[Node]) -> Encoder | None:
    """What is in ``model.backbone``, or None if it is something else or cannot be read."""
    node = node_at(nodes, 'model.backbone')
    if not is_a(node, (VisionTransformer, MaskedSwinTransformer)):
        return None
    patch, indices = node.argument('patch_size'), as_list(node.argument('out_indices'))
    width, depth, stages = map(_architecture(node).get, ('embed_dims', 'num_layers', 'depths'))
    depth = len(stages) if isinstance(stages, list | tuple) else depth
    if not all(map(is_positive, (width, patch, depth))) or {*map(type, indices)} - {int}:
        return None
    # How often 2x2 tokens were merged before a tap is read: never in a plain vision transformer.
    first = bool(node.argument('out_after_downsample'))
    merged = [min(block + first, depth - 1) if stages else 0 for block in range(depth)]
    blocks = [Tap(width * 2**times, patch * 2**times) for times in merged]
    return Encoder(node, blocks, sorted(i + depth if i < 0 else i for i in indices))


def _sides(size) -> tuple[int, int] | None:
    sides = tuple(size) if isinstance(size, list | tuple) else (size, size)
    return sides if len(sides) == 2 and all(map(is_positive, sides)) else None


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
    crops = {path: size for path, size in crops.items() if path in windows or not windows}
    preprocessor = node_at(nodes, 'model.data_preprocessor')
    if is_a(preprocessor, AugmentingDataPreprocessor) and preprocessor.config.get('size'):
        return {'model.data_preprocessor.size': _sides(preprocessor.config['size'])}
    return crops or dict(list(resizings.items())[-1:])


def num_views(nodes: list[Node]) -> int | None:
    """Views of each image that reach the model in training, None if nothing makes views."""
    preprocessor = node_at(nodes, 'model.data_preprocessor')
    if is_a(preprocessor, AugmentingDataPreprocessor):
        return len(preprocessor.argument('views') or ())
    for node in nodes:
        if node.path.startswith('train_dataloader.') and is_a(node, MultiView):
            return sum(filter(is_positive, as_list(node.argument('num_views'))))
    return None


def check_encoder(cfg: dict, nodes: list[Node]) -> Iterator[str]:
    """Architecture and taps of a masked transformer."""
    node, encoder = node_at(nodes, 'model.backbone'), encoder_of(nodes)
    if not is_a(node, (MaskedVisionTransformer, MaskedSwinTransformer)):
        return
    arch, zoo, path = node.argument('arch'), node.built.arch_zoo, 'model.backbone.arch'
    if isinstance(arch, str):
        yield from must_be_known(node, 'arch', zoo, 'architecture')
    for key in zoo['base'] if isinstance(arch, dict) else ():
        if key not in arch:
            yield f'{path}.{key} is missing: an architecture needs it'
    width, heads = map(_architecture(node).get, ('embed_dims', 'num_heads'))
    yield from must_divide(path, width, heads)
    if is_a(node, MaskedVisionTransformer):
        yield from must_suit_sincos(path, width)
    indices, depth = (encoder.indices, len(encoder.blocks)) if encoder else ([0], 1)
    if not indices or not {*indices} <= {*range(depth)} or len({*indices}) < len(indices):
        remedy = f'must be different ones of 0 to {depth - 1}, or counted from -1 backwards'
        yield tell_key(node, 'out_indices', remedy)


def check_image_size(cfg: dict, nodes: list[Node]) -> Iterator[str]:
    """Patches, and blocks of them, tile the images."""
    encoder, masking = encoder_of(nodes), node_at(nodes, 'model.masking')
    if encoder is None:
        return
    unit, declared = encoder.unit, _sides(encoder.node.argument('img_size'))
    block = masking.argument('block_size') if is_a(masking, BlockMask) else None
    sizes = {'model.backbone.img_size': declared} if declared else {}
    for path, size in (sizes | image_sizes(nodes)).items():
        if any(side % unit for side in size):
            example = unit * max(1, round(size[0] / unit))
            remedy = f'must be a multiple of {unit}, a patch of model.backbone, such as {example}'
            yield tell(path, size, remedy)
        elif is_positive(block) and any(side // unit % block for side in size):
            grid = 'x'.join(str(side // unit) for side in size)
            remedy = f'must divide the {grid} patches of {path} = {size}'
            yield tell_key(masking, 'block_size', remedy)
        elif is_a(encoder.node, VisionTransformer) and sorted(size) != sorted(declared or size):
            print_log(
                f'{path} = {size} is not model.backbone.img_size = {declared}: the position '
                'embedding is interpolated at every step.',
                logger='current',
                level=logging.WARNING,
            )


def check_windows(cfg: dict, nodes: list[Node]) -> Iterator[str]:
    """The windows of a masked Swin tile the map of every stage."""
    encoder = encoder_of(nodes)
    if encoder is None or not is_a(encoder.node, MaskedSwinTransformer):
        return
    windows, patch = map(encoder.node.argument, ('window_size', 'patch_size'))
    each = windows if isinstance(windows, list | tuple) else [windows] * len(encoder.blocks)
    for path, size in image_sizes(nodes).items():
        for stage, window in enumerate(each):
            tokens = [side // (patch * 2**stage) for side in size]
            if is_positive(window) and any(number % window for number in tokens):
                grid = 'x'.join(map(str, tokens))
                remedy = (
                    f'{window} must divide the {grid} tokens of stage {stage} at {path} = {size}'
                )
                yield tell_key(encoder.node, 'window_size', remedy)


CHECKS = (check_encoder, check_image_size, check_windows)

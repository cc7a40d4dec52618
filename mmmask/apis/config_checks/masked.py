"""Masks, decoders and targets of masked image modelling."""

from collections.abc import Iterator

from mmmask.engine.hooks import MomentumUpdateHook, ProgressHook
from mmmask.models import EncoderParser, MultiScaleDecoder, TokenDecoder
from mmmask.targets import HOGTarget, PixelTarget

from ..config_nodes import Node
from .encoder import encoder_of, image_sizes
from .rules import (
    as_list,
    is_a,
    is_number,
    is_positive,
    must_be,
    must_divide,
    must_move,
    must_suit_sincos,
    node_at,
    tell,
    tell_key,
)


def check_mask_ratio(cfg: dict, nodes: list[Node]) -> Iterator[str]:
    """Mask ratios hide something and leave something."""
    for node in nodes:
        key = 'ratio' if node.path == 'model.masking' else 'mask_ratio'
        value = node.config.get(key)
        if value is not None and not (is_number(value) and 0 < value < 1):
            remedy = 'must lie in (0, 1), the share of patches to hide, such as 0.75'
            yield tell_key(node, key, remedy)


def _decoders(nodes: list[Node]) -> list[Node]:
    """The decoders that are held against the target, one per scale."""
    inside = [node for node in nodes if node.path.rpartition('.')[0] == 'model.neck.decoders']
    return [node for node in inside or [node_at(nodes, 'model.neck')] if is_a(node, TokenDecoder)]


def check_decoders(cfg: dict, nodes: list[Node]) -> Iterator[str]:
    """Decoders read what the encoder gives, with heads that divide their width."""
    encoder, decoders = encoder_of(nodes), _decoders(nodes)
    further = node_at(nodes, 'model.feature_decoder')  # reads the last tap, as the single one does
    taps = [encoder and encoder.tap(index, len(decoders)) for index in range(len(decoders))]
    pairs = list(zip(decoders, taps, strict=True))
    if is_a(further, TokenDecoder):
        pairs.append((further, encoder and encoder.tap(0, 1)))
    for node, tap in pairs:
        width = node.argument('embed_dims')
        yield from must_divide(node.path, width, node.argument('num_heads'))
        yield from must_suit_sincos(node.path, width)
        origin = 'the width of its tap of model.backbone'
        yield from must_be(node, 'in_channels', tap and tap.width, origin)
    is_multi_scale = is_a(node_at(nodes, 'model.neck'), MultiScaleDecoder)
    if encoder and is_multi_scale and len(decoders) != len(encoder.indices):
        remedy = f'must be {len(decoders)} of them, one for each decoder in model.neck'
        yield tell_key(encoder.node, 'out_indices', remedy)


def check_target(cfg: dict, nodes: list[Node]) -> Iterator[str]:
    """The target has the scales, grids and channels that the decoders predict."""
    target, decoders = node_at(nodes, 'model.target_generator'), _decoders(nodes)
    is_hog, encoder = is_a(target, HOGTarget), encoder_of(nodes)
    if not decoders or not (is_hog or is_a(target, PixelTarget)):
        return
    key = 'cell_sizes' if is_hog else 'patch_size'
    path = f'{target.path}.{key}'
    # A patch is by default the backbone's.
    sizes = as_list(target.argument(key) or (encoder and encoder.unit))
    num_bins = target.argument('num_bins')
    if not all(map(is_positive, sizes)) or (is_hog and not is_positive(num_bins)):
        yield tell(target.path, target.config, 'sizes and num_bins must be whole numbers above 0')
        return
    if len(sizes) != len(decoders):
        yield tell(path, sizes, f'must be {len(decoders)} scales, one for each decoder')
        return
    for index, (size, decoder) in enumerate(zip(sizes, decoders, strict=True)):
        values = 3 * (num_bins if is_hog else size**2)
        channels, scale = decoder.argument('out_channels'), decoder.argument('scale') or 1
        if channels not in (None, values):
            product = f'3 colours * {num_bins} bins' if is_hog else f'3 colours * {size}^2 pixels'
            yield tell_key(decoder, 'out_channels', f'must be {values} = {product}')
        tap = encoder and encoder.tap(index, len(decoders))
        if tap and is_number(scale) and size * scale != tap.pixels:
            where = f'{decoder.path} with scale={scale}'
            remedy = f'scale {index} is {size} px, but {where} predicts {tap.pixels / scale:g} px'
            yield tell(path, sizes, remedy)
        for place, image in image_sizes(nodes).items():
            if any(side % size for side in image):
                yield tell(path, sizes, f'{size} does not divide the images, {place} = {image}')


def check_evolution(cfg: dict, nodes: list[Node]) -> Iterator[str]:
    """Masks that follow the training, and momentum copies, have what moves them on."""
    masking, parser = node_at(nodes, 'model.masking'), node_at(nodes, 'model.parser')
    built = getattr(masking, 'built', None)
    if getattr(built, 'needs_evidence', False) is not False and parser is None:
        remedy = "sees nothing without a parser, add model.parser=dict(type='mmmask.EncoderParser')"
        yield tell_key(masking, 'type', remedy)
    if hasattr(built, 'set_progress'):
        yield from must_move(nodes, masking, 'type', ProgressHook)
    if is_a(parser, EncoderParser) and parser.argument('momentum') is not None:
        yield from must_move(nodes, parser, 'momentum', MomentumUpdateHook)


CHECKS = (check_mask_ratio, check_decoders, check_target, check_evolution)

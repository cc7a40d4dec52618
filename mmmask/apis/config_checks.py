"""What can be wrong with a config.

A check takes the config and its nodes (:func:`mmmask.apis.config_nodes.find_nodes`) and yields one
line per error: dotted key as on the command line, value, and the remedy. It passes over what it
cannot read, since another check tells of that. A new method adds a check to ``CHECKS`` for what its
parts must agree on.
"""

import difflib
import inspect
import logging
import os
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from mmengine import registry as root
from mmengine.dataset import BaseDataset
from mmengine.logging import print_log
from mmengine.optim import AmpOptimWrapper, LinearLR
from mmengine.runner import IterBasedTrainLoop, Runner
from mmpretrain.datasets.transforms import MultiView
from mmpretrain.models.backbones import (
    ResNet,
    VisionTransformer,
)
from mmpretrain.models.backbones.resnet import get_expansion

from mmmask.datasets import ContrastiveCrop, ImageFolder, ShiftedCrop
from mmmask.engine.hooks import (
    CollapseHook,
    MomentumUpdateHook,
    ProgressHook,
    RefreshCropsHook,
)
from mmmask.engine.hooks.refresh_crops import is_due
from mmmask.masking import (
    BlockMask,
    FeatureGroupMask,
)
from mmmask.models import (
    AugmentingDataPreprocessor,
    CMAEHuang,
    CMAEMao,
    DeepMaskingNeck,
    EncoderParser,
    MaskDeep,
    MaskedSwinTransformer,
    MaskedVisionTransformer,
    MultiScaleDecoder,
    PositionHead,
    TokenDecoder,
)
from mmmask.models.algorithms.cmae_mao import SOURCES, TARGETS
from mmmask.models.heads.position import INPUTS, LOSSES
from mmmask.models.heat_maps import HEAT_MAPS
from mmmask.targets import HOGTarget, PixelTarget

from .config_nodes import BUILT, CONSUMED, REQUIRED, SUPPLIED, Node, known_types, parameters

TOP_LEVEL = {
    *inspect.signature(Runner.__init__).parameters,
    *BUILT,
    *('runner_type', 'custom_imports', 'compile', 'sync_bn'),
    *('find_unused_parameters', 'activation_checkpointing', 'efficient_conv_bn_eval'),
} - {'self', 'cfg'}
# Top-level keys of the first generation of mmcv, and where their content belongs now.
FORMER_KEYS = dict(
    checkpoint_config='default_hooks.checkpoint',
    data='train_dataloader, val_dataloader and test_dataloader',
    dist_params='env_cfg.dist_cfg',
    evaluation='val_evaluator and train_cfg.val_interval',
    fp16="optim_wrapper.type='AmpOptimWrapper'",
    log_config='default_hooks.logger and visualizer',
    lr_config='param_scheduler',
    optimizer='optim_wrapper.optimizer',
    optimizer_config='optim_wrapper',
    paramwise_cfg='optim_wrapper.paramwise_cfg',
    resume_from='load_from together with resume=True',
    runner='train_cfg',
    total_epochs='train_cfg.max_epochs',
)
GROUPS = (
    ('train_dataloader', 'train_cfg', 'optim_wrapper'),
    ('val_dataloader', 'val_cfg', 'val_evaluator'),
    ('test_dataloader', 'test_cfg', 'test_evaluator'),
)
DEFAULT_HOOKS = ['checkpoint', 'logger', 'param_scheduler', 'runtime_info', 'sampler_seed', 'timer']
PARAMWISE_KEYS = (
    *('bias_lr_mult', 'bias_decay_mult', 'norm_decay_mult', 'dwconv_decay_mult'),
    *('flat_decay_mult', 'dcn_offset_lr_mult', 'bypass_duplicate', 'custom_keys'),
)


def _tell(path: str, value, remedy: str) -> str:
    value = repr(value)
    return f'{path} = {value if len(value) <= 60 else value[:57] + "..."}: {remedy}'


def _nearest(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean '{close[0]}'?" if close else f'use one of {", ".join(sorted(known))}'


def _is_positive(value) -> bool:
    return isinstance(value, int) and value > 0


def _is(node: Node | None, kind: type | tuple[type, ...]) -> bool:
    return node is not None and inspect.isclass(node.built) and issubclass(node.built, kind)


def _get(cfg, path: str):
    """The value at a dotted path, or None."""
    for key in path.split('.'):
        cfg = cfg.get(key) if isinstance(cfg, dict) else None
    return cfg


def _node(nodes: list[Node], path: str) -> Node | None:
    return next((node for node in nodes if node.path == path), None)


# Keys and types


def check_top_level(cfg: dict, nodes: list[Node]) -> Iterator[str]:
    """No key that mmengine passes over.

    A config may hold variables of its own beside the keys that mmengine reads, such as
    ``train_pipeline``. A name that mmengine does not read is an error if it is nearly one that it
    reads, or if mmcv used to read it and no other part of the config uses its value. Names with a
    leading underscore are always variables.
    """
    used = [value for key in BUILT for value in _contents(cfg.get(key))]
    # Configs of mmdet and mmseg inherit such leftovers from those that the packages ship.
    is_foreign = cfg.get('default_scope') in ('mmdet', 'mmseg')
    for key, value in cfg.items():
        if key in BUILT and not isinstance(value, dict | list | tuple | None):
            yield _tell(key, value, 'must be a dict, or a list of them')
        if key in TOP_LEVEL or key.startswith('_'):
            continue
        close = difflib.get_close_matches(key, TOP_LEVEL, n=1, cutoff=0.85)
        if close:
            yield _tell(key, value, f"unknown key, did you mean '{close[0]}'?")
        elif key in FORMER_KEYS and value is not None and value not in used:
            line = _tell(key, value, f'is read no more, use {FORMER_KEYS[key]}')
            if not is_foreign:
                yield line
            else:
                print_log(line, logger='current', level=logging.WARNING)


def _contents(value) -> Iterator:
    yield value
    if isinstance(value, dict | list | tuple):
        for child in value.values() if isinstance(value, dict) else value:
            yield from _contents(child)


def check_groups(cfg: dict, nodes: list[Node]) -> Iterator[str]:
    """A model, and all or none of what it takes to train, to validate and to test it."""
    if cfg.get('model') is None:
        yield 'model is missing: inherit one of configs/_base_/models through _base_'
    for group in GROUPS:
        missing = [key for key in group if cfg.get(key) is None]
        if 0 < len(missing) < len(group):
            yield f'{", ".join(missing)} missing: give all of {", ".join(group)}, or none'


def check_types(cfg: dict, nodes: list[Node]) -> Iterator[str]:
    """Every ``type`` is in the registry that mmengine looks into."""
    for node in nodes:
        name, is_inside = node.config.get('type'), len(node.candidates) > 1
        if node.built is not None or (is_inside and str(name).islower()):
            continue  # inside a model, a type may be an option that no registry knows
        if node.path.endswith('.roi_layer'):
            continue  # mmdet takes these from mmcv.ops
        if name is None:
            yield f'{node.path}.type is missing: name a {node.registry.name}'
            continue
        bare = str(name).rpartition('.')[-1]
        for candidates in (node.candidates[:1], node.candidates):
            known = known_types(candidates)
            close = difflib.get_close_matches(bare, known, n=1)
            if close:
                break
        other = 'check its scope prefix, or let custom_imports import its module'
        remedy = f"write '{known[close[0]]}'" if close else other
        yield _tell(f'{node.path}.type', name, f'no such {node.registry.name}, {remedy}')


def check_arguments(cfg: dict, nodes: list[Node]) -> Iterator[str]:
    """Every key is an argument of what is built, and every argument without default is there.

    What swallows any key is only checked for keys that are nearly one of those it names. An
    argument may also be a box beside it, which their owner hands on.
    """
    configs = {node.path: node.config for node in nodes}
    for node in nodes:
        if node.built is None:
            continue
        takes, closed = parameters(node.built)
        owner = node.config.get('type', node.path)
        owner = owner if isinstance(owner, str) else owner.__name__
        supplied = SUPPLIED.get(node.registry, set())
        reads = CONSUMED.get(node.registry, set()) | takes.keys() - supplied
        # The owner of a norm_cfg, act_cfg, ... completes it, and takes requires_grad out of it.
        is_part = node.registry is root.MODELS and node.path.endswith(('_cfg', '_layer'))
        known = {*reads, *takes, 'type', '_scope_', *(['requires_grad'] if is_part else [])}
        for key, value in node.config.items():
            is_near = key not in known and difflib.get_close_matches(str(key), reads, 1, 0.85)
            if key not in known and (closed or is_near):
                remedy = f'unknown key of {owner}, {_nearest(str(key), reads)}'
                yield _tell(f'{node.path}.{key}', value, remedy)
        given = {*node.config, *supplied, *configs.get(node.path.rpartition('.')[0], {})}
        is_complete = not is_part and node.registry is not root.FUNCTIONS
        for key, default in takes.items() if is_complete else ():
            if default is REQUIRED and key not in given:
                yield f'{node.path}.{key} is missing: {owner} needs it'


def check_names(cfg: dict, nodes: list[Node]) -> Iterator[str]:
    """Keys that are no arguments: the names of default hooks, and ``paramwise_cfg``."""
    for node in nodes:
        place, _, key = node.path.rpartition('.')
        if place == 'default_hooks' and key not in DEFAULT_HOOKS:
            close = difflib.get_close_matches(key, DEFAULT_HOOKS, n=1, cutoff=0.8)
            if close:
                yield _tell(node.path, node.config, f"unknown key, did you mean '{close[0]}'?")
    options = _get(cfg, 'optim_wrapper.paramwise_cfg')
    if isinstance(options, dict) and _get(cfg, 'optim_wrapper.constructor') is None:
        for key, value in options.items():
            if key not in PARAMWISE_KEYS:
                remedy = f'unknown key, {_nearest(str(key), PARAMWISE_KEYS)}'
                yield _tell(f'optim_wrapper.paramwise_cfg.{key}', value, remedy)


# The run


def check_numbers(cfg: dict, nodes: list[Node]) -> Iterator[str]:
    """Counts and rates."""
    for path in (
        'train_dataloader.batch_size',
        'val_dataloader.batch_size',
        'test_dataloader.batch_size',
        'train_cfg.max_epochs',
        'train_cfg.max_iters',
        'optim_wrapper.accumulative_counts',
        'auto_scale_lr.base_batch_size',
    ):
        value = _get(cfg, path)
        if value is not None and not _is_positive(value):
            yield _tell(path, value, 'must be a whole number, at least 1')
    for path in ('optim_wrapper.optimizer.lr', 'optim_wrapper.optimizer.weight_decay'):
        value = _get(cfg, path)
        if value is not None and not (isinstance(value, int | float) and value >= 0):
            yield _tell(path, value, 'must be a number, 0 or more')
    optimizer = _get(cfg, 'optim_wrapper.optimizer')
    if isinstance(optimizer, dict) and cfg.get('auto_scale_lr') and 'lr' not in optimizer:
        yield 'optim_wrapper.optimizer.lr is missing: auto_scale_lr needs a rate to scale'


def check_schedules(cfg: dict, nodes: list[Node]) -> Iterator[str]:
    """Schedules that count epochs start, and warm-ups end, within the run."""
    epochs = _get(cfg, 'train_cfg.max_epochs')
    for node in nodes if _is_positive(epochs) else ():
        if node.registry is not root.PARAM_SCHEDULERS or node.config.get('by_epoch') is False:
            continue
        for key in ('begin', 'warmup_epochs', 'end' if _is(node, LinearLR) else 'begin'):
            value = node.config.get(key)
            if value is not None and not (isinstance(value, int | float) and 0 <= value < epochs):
                remedy = f'must lie in [0, {epochs}): lower it, or raise train_cfg.max_epochs'
                yield _tell(f'{node.path}.{key}', value, remedy)


def check_start(cfg: dict, nodes: list[Node]) -> Iterator[str]:
    """The checkpoint that a run starts from, and its precision."""
    resume, path = cfg.get('resume', False), cfg.get('load_from')
    if not isinstance(resume, bool):
        remedy = 'must be True or False; name the checkpoint in load_from and set resume=True'
        yield _tell('resume', resume, remedy)
    if isinstance(path, str) and '://' not in path and not os.path.exists(path):
        yield _tell('load_from', path, 'does not exist, correct the path or set it to None')
    node, known = _node(nodes, 'optim_wrapper'), AmpOptimWrapper.valid_dtypes
    dtype = node.config.get('dtype') if _is(node, AmpOptimWrapper) else None
    if isinstance(dtype, str) and dtype not in known:
        yield _tell('optim_wrapper.dtype', dtype, f'no such precision, {_nearest(dtype, known)}')


def check_hooks(cfg: dict, nodes: list[Node]) -> Iterator[str]:
    """No hook acts twice."""
    hooks = [node for node in nodes if node.registry is root.HOOKS and node.path.count('.') == 1]
    default = {
        node.built: node.path
        for node in hooks
        if node.path.startswith('default_hooks.') and inspect.isclass(node.built)
    }
    custom = [node for node in hooks if node.path.startswith('custom_hooks.')]
    for index, node in enumerate(custom):
        twins = [other.path for other in custom[:index] if other.config == node.config]
        if twins:
            yield _tell(node.path, node.config, f'the same as {twins[0]}, remove one of them')
            continue
        for built, place in default.items():
            if inspect.isclass(node.built) and issubclass(built, node.built):
                remedy = f'would run beside the one in {place}, change that one instead'
                yield _tell(f'{node.path}.type', node.config['type'], remedy)


def check_sources(cfg: dict, nodes: list[Node]) -> Iterator[str]:
    """Folders and archives of images exist."""
    places: dict[str, list[str]] = {}
    for node in nodes:
        if _is(node, ImageFolder) and isinstance(node.config.get('source'), str):
            places.setdefault(node.config['source'], []).append(f'{node.path}.source')
    for source, (path, *others) in places.items():
        if not os.path.exists(os.path.expanduser(source)):
            also = f' (nor for {", ".join(others)})' if others else ''
            yield _tell(path, source, f'does not exist{also}, give a folder or a .zip of images')


# The model


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


def _encoder(nodes: list[Node]) -> Encoder | None:
    """What is in ``model.backbone``, or None if it is something else or cannot be read."""
    node = _node(nodes, 'model.backbone')
    if not _is(node, (VisionTransformer, MaskedSwinTransformer)):
        return None
    patch, indices = map(node.argument, ('patch_size', 'out_indices'))
    width, depth, stages = map(_architecture(node).get, ('embed_dims', 'num_layers', 'depths'))
    depth = len(stages) if isinstance(stages, list | tuple) else depth
    indices = list(indices) if isinstance(indices, list | tuple) else [indices]
    if not all(map(_is_positive, (width, patch, depth))) or {*map(type, indices)} - {int}:
        return None
    # How often 2x2 tokens were merged before a tap is read: never in a plain vision transformer.
    first = bool(node.argument('out_after_downsample'))
    merged = [min(block + first, depth - 1) if stages else 0 for block in range(depth)]
    blocks = [Tap(width * 2**times, patch * 2**times) for times in merged]
    return Encoder(node, blocks, sorted(i + depth if i < 0 else i for i in indices))


def _sides(size) -> tuple[int, int] | None:
    sides = tuple(size) if isinstance(size, list | tuple) else (size, size)
    return sides if len(sides) == 2 and all(map(_is_positive, sides)) else None


def image_sizes(nodes: list[Node]) -> dict[str, tuple[int, int]]:
    """Sizes of the training images: of the last crops, or else of the last resizing."""
    crops, resizings = {}, {}
    windows = [f'{node.path}.size' for node in nodes if _is(node, ShiftedCrop)]  # out of crops
    for node in nodes:
        name = getattr(node.built, '__name__', '')
        if node.path.startswith('train_dataloader.') and ('Crop' in name or 'Resize' in name):
            for key in ('scale', 'crop_size', 'size'):
                if sides := _sides(node.config.get(key)):
                    (crops if 'Crop' in name else resizings)[f'{node.path}.{key}'] = sides
    crops = {path: size for path, size in crops.items() if path in windows or not windows}
    preprocessor = _node(nodes, 'model.data_preprocessor')
    if _is(preprocessor, AugmentingDataPreprocessor) and preprocessor.config.get('size'):
        return {'model.data_preprocessor.size': _sides(preprocessor.config['size'])}
    return crops or dict(list(resizings.items())[-1:])


def check_encoder(cfg: dict, nodes: list[Node]) -> Iterator[str]:
    """Architecture and taps of a masked transformer."""
    node, encoder, path = _node(nodes, 'model.backbone'), _encoder(nodes), 'model.backbone'
    if not _is(node, (MaskedVisionTransformer, MaskedSwinTransformer)):
        return
    arch, zoo = node.argument('arch'), node.built.arch_zoo
    if isinstance(arch, str) and arch not in zoo:
        yield _tell(f'{path}.arch', arch, f'no such architecture, {_nearest(arch, zoo)}')
    for key in zoo['base'] if isinstance(arch, dict) else ():
        if key not in arch:
            yield f'{path}.arch.{key} is missing: an architecture needs it'
    width, heads = map(_architecture(node).get, ('embed_dims', 'num_heads'))
    if _is_positive(width) and _is_positive(heads) and width % heads:
        yield _tell(f'{path}.arch.num_heads', heads, f'must divide embed_dims = {width}')
    if _is(node, MaskedVisionTransformer) and _is_positive(width) and width % 4:
        remedy = 'must be a multiple of 4, as sin-cos needs it'
        yield _tell(f'{path}.arch.embed_dims', width, remedy)
    indices, depth = (encoder.indices, len(encoder.blocks)) if encoder else ([0], 1)
    if not indices or not {*indices} <= {*range(depth)} or len({*indices}) < len(indices):
        remedy = f'must be different ones of 0 to {depth - 1}, or counted from -1 backwards'
        yield _tell(f'{path}.out_indices', node.argument('out_indices'), remedy)


def check_image_size(cfg: dict, nodes: list[Node]) -> Iterator[str]:
    """Patches, and blocks of them, tile the images."""
    encoder, masking = _encoder(nodes), _node(nodes, 'model.masking')
    if encoder is None:
        return
    unit, declared = encoder.unit, _sides(encoder.node.argument('img_size'))
    block = masking.argument('block_size') if _is(masking, BlockMask) else None
    sizes = {'model.backbone.img_size': declared} if declared else {}
    for path, size in (sizes | image_sizes(nodes)).items():
        if any(side % unit for side in size):
            example = unit * max(1, round(size[0] / unit))
            remedy = f'must be a multiple of {unit}, a patch of model.backbone, such as {example}'
            yield _tell(path, size, remedy)
        elif _is_positive(block) and any(side // unit % block for side in size):
            grid = 'x'.join(str(side // unit) for side in size)
            remedy = f'must divide the {grid} patches of {path} = {size}'
            yield _tell('model.masking.block_size', block, remedy)
        elif _is(encoder.node, VisionTransformer) and sorted(size) != sorted(declared or size):
            print_log(
                f'{path} = {size} is not model.backbone.img_size = {declared}: the position '
                'embedding is interpolated at every step.',
                logger='current',
                level=logging.WARNING,
            )


def check_windows(cfg: dict, nodes: list[Node]) -> Iterator[str]:
    """The windows of a masked Swin tile the map of every stage."""
    encoder = _encoder(nodes)
    if encoder is None or not _is(encoder.node, MaskedSwinTransformer):
        return
    windows, patch = map(encoder.node.argument, ('window_size', 'patch_size'))
    each = windows if isinstance(windows, list | tuple) else [windows] * len(encoder.blocks)
    for path, size in image_sizes(nodes).items():
        for stage, window in enumerate(each):
            tokens = [side // (patch * 2**stage) for side in size]
            if _is_positive(window) and any(number % window for number in tokens):
                grid = 'x'.join(map(str, tokens))
                remedy = (
                    f'{window} must divide the {grid} tokens of stage {stage} at {path} = {size}'
                )
                yield _tell('model.backbone.window_size', windows, remedy)


def check_mask_ratio(cfg: dict, nodes: list[Node]) -> Iterator[str]:
    """Mask ratios hide something and leave something."""
    for node in nodes:
        key = 'ratio' if node.path == 'model.masking' else 'mask_ratio'
        value = node.config.get(key)
        if value is not None and not (isinstance(value, int | float) and 0 < value < 1):
            remedy = 'must lie in (0, 1), the share of patches to hide, such as 0.75'
            yield _tell(f'{node.path}.{key}', value, remedy)


def _decoders(nodes: list[Node]) -> list[Node]:
    """The decoders that are held against the target, one per scale."""
    inside = [node for node in nodes if node.path.rpartition('.')[0] == 'model.neck.decoders']
    return [node for node in inside or [_node(nodes, 'model.neck')] if _is(node, TokenDecoder)]


def check_decoders(cfg: dict, nodes: list[Node]) -> Iterator[str]:
    """Decoders read what the encoder gives, with heads that divide their width."""
    encoder, decoders = _encoder(nodes), _decoders(nodes)
    further = _node(nodes, 'model.feature_decoder')  # reads the last tap, as the single one does
    taps = [encoder and encoder.tap(index, len(decoders)) for index in range(len(decoders))]
    pairs = list(zip(decoders, taps, strict=True))
    if _is(further, TokenDecoder):
        pairs.append((further, encoder and encoder.tap(0, 1)))
    for node, tap in pairs:
        width, heads, channels = map(node.argument, ('embed_dims', 'num_heads', 'in_channels'))
        if _is_positive(width) and _is_positive(heads) and width % heads:
            yield _tell(f'{node.path}.num_heads', heads, f'must divide embed_dims = {width}')
        if _is_positive(width) and width % 4:
            remedy = 'must be a multiple of 4, as sin-cos needs it'
            yield _tell(f'{node.path}.embed_dims', width, remedy)
        if tap and channels not in (None, tap.width):
            remedy = f'must be {tap.width}, the width of its tap of model.backbone'
            yield _tell(f'{node.path}.in_channels', channels, remedy)
    is_multi_scale = _is(_node(nodes, 'model.neck'), MultiScaleDecoder)
    if encoder and is_multi_scale and len(decoders) != len(encoder.indices):
        remedy = f'must be {len(decoders)} of them, one for each decoder in model.neck'
        yield _tell('model.backbone.out_indices', encoder.node.argument('out_indices'), remedy)


def check_target(cfg: dict, nodes: list[Node]) -> Iterator[str]:
    """The target has the scales, grids and channels that the decoders predict."""
    target, decoders = _node(nodes, 'model.target_generator'), _decoders(nodes)
    is_hog, encoder = _is(target, HOGTarget), _encoder(nodes)
    if not decoders or not (is_hog or _is(target, PixelTarget)):
        return
    key = 'cell_sizes' if is_hog else 'patch_size'
    path = f'{target.path}.{key}'
    sizes, num_bins = target.argument(key), target.argument('num_bins')
    sizes = list(sizes) if isinstance(sizes, list | tuple) else [sizes]
    if not all(map(_is_positive, sizes)) or (is_hog and not _is_positive(num_bins)):
        yield _tell(target.path, target.config, 'sizes and num_bins must be whole numbers above 0')
        return
    if len(sizes) != len(decoders):
        yield _tell(path, sizes, f'must be {len(decoders)} scales, one for each decoder')
        return
    for index, (size, decoder) in enumerate(zip(sizes, decoders, strict=True)):
        values = 3 * (num_bins if is_hog else size**2)
        channels, scale = decoder.argument('out_channels'), decoder.argument('scale') or 1
        if channels not in (None, values):
            product = f'3 colours * {num_bins} bins' if is_hog else f'3 colours * {size}^2 pixels'
            yield _tell(f'{decoder.path}.out_channels', channels, f'must be {values} = {product}')
        tap = encoder and encoder.tap(index, len(decoders))
        if tap and isinstance(scale, int | float) and size * scale != tap.pixels:
            where = f'{decoder.path} with scale={scale}'
            remedy = f'scale {index} is {size} px, but {where} predicts {tap.pixels / scale:g} px'
            yield _tell(path, sizes, remedy)
        for place, image in image_sizes(nodes).items():
            if any(side % size for side in image):
                yield _tell(path, sizes, f'{size} does not divide the images, {place} = {image}')


def check_evolution(cfg: dict, nodes: list[Node]) -> Iterator[str]:
    """Masks that follow the training, and momentum copies, have what moves them on."""
    masking, parser = _node(nodes, 'model.masking'), _node(nodes, 'model.parser')
    built = getattr(masking, 'built', None)
    moved_by = []
    if hasattr(built, 'set_progress'):
        moved_by.append((f'{masking.path}.type', masking.config['type'], ProgressHook))
    if getattr(built, 'needs_evidence', False) is not False and parser is None:
        remedy = "sees nothing without a parser, add model.parser=dict(type='mmmask.EncoderParser')"
        yield _tell(f'{masking.path}.type', masking.config['type'], remedy)
    if _is(parser, EncoderParser) and parser.argument('momentum') is not None:
        moved_by.append(
            (f'{parser.path}.momentum', parser.argument('momentum'), MomentumUpdateHook)
        )
    for path, value, hook in moved_by:
        yield from _check_mover(nodes, path, value, hook)


def _check_mover(nodes: list[Node], path: str, value, hook: type) -> Iterator[str]:
    """What changes over training has the hook that changes it."""
    if not any(_is(node, hook) for node in nodes):
        name = hook.__name__
        yield _tell(path, value, f"never moves on, add dict(type='mmmask.{name}') to the hooks")


def check_views(cfg: dict, nodes: list[Node]) -> Iterator[str]:
    """A method that compares views of an image gets enough of them."""
    model, pipeline = _node(nodes, 'model'), re.compile(r'train_dataloader\..*\bpipeline\.\d+')
    needed = getattr(getattr(model, 'built', None), 'num_views', 1)
    transforms = [node for node in nodes if pipeline.fullmatch(node.path)]
    makers = [node for node in transforms if _is(node, MultiView)]
    views = makers[0].config.get('num_views') if makers else 1
    views = sum(views) if isinstance(views, list | tuple) else views
    if transforms and isinstance(needed, int) and isinstance(views, int) and views < needed:
        path = f'{makers[0].path}.num_views' if makers else transforms[0].path.rpartition('.')[0]
        value = makers[0].config['num_views'] if makers else [t.config['type'] for t in transforms]
        remedy = (
            f'gives {views} view of each image, but {model.config["type"]} compares {needed}, use '
            "dict(type='mmpretrain.MultiView', num_views=[1, 1], transforms=[[...], [...]])"
        )
        yield _tell(path, value, remedy)


def check_contrast(cfg: dict, nodes: list[Node]) -> Iterator[str]:
    """The contrastive task of the two methods called CMAE."""
    model, head = _node(nodes, 'model'), _node(nodes, 'model.contrast_head')
    if not _is(model, (CMAEMao, CMAEHuang)):
        return
    for key in ('reconstruction_weight', 'contrast_weight', 'position_weight'):
        value = model.argument(key)
        if value is not None and not (isinstance(value, int | float) and value >= 0):
            yield _tell(f'model.{key}', value, 'must be a number, 0 to do without the task')
    if head is None or not model.argument('contrast_weight'):
        return
    for key, known in (('source', SOURCES), ('target', TARGETS)):
        value = model.argument(key)
        if _is(model, CMAEMao) and value not in known:
            yield _tell(f'model.{key}', value, f'no such {key}, {_nearest(str(value), known)}')
    momentum, temperature = model.argument('momentum'), head.argument('temperature')
    if not (isinstance(temperature, int | float) and temperature > 0):
        remedy = 'must be above 0, such as 0.07 to 1'
        yield _tell('model.contrast_head.temperature', temperature, remedy)
    if _is(model, CMAEHuang) or str(model.argument('target')).startswith('momentum'):
        if not (isinstance(momentum, int | float) and 0 <= momentum <= 1):
            remedy = 'must lie in [0, 1], the share of the old copy, such as 0.999'
            yield _tell('model.momentum', momentum, remedy)
        yield from _check_mover(nodes, 'model.momentum', momentum, MomentumUpdateHook)
    batch = _get(cfg, 'train_dataloader.batch_size')
    if _is_positive(batch) and batch < 2:
        remedy = 'must be at least 2, images are compared with one another'
        yield _tell('train_dataloader.batch_size', batch, remedy)
    hook = next((node for node in nodes if _is(node, RefreshCropsHook)), None)
    if hook and hook.argument('heat_map') == 'cls_attn' and model.argument('source') in SOURCES[1:]:
        remedy = (
            f'looks at the class token, but model.source = {model.argument("source")!r} does not '
            "train it to find the object, use 'feat_norm'"
        )
        yield _tell(f'{hook.path}.heat_map', 'cls_attn', remedy)
    yield from _check_projections(nodes, model)


def _check_projections(nodes: list[Node], model: Node) -> Iterator[str]:
    """Projector and predictor read what is given to them, and the features what they stand for."""
    encoder, further = _encoder(nodes), _node(nodes, 'model.feature_decoder')
    projector = _node(nodes, 'model.projector')
    predictor = _node(nodes, 'model.contrast_head.predictor')
    decoder = _node(nodes, 'model.neck')
    width, source = encoder.blocks[-1].width if encoder else None, 'model.backbone'
    if model.argument('source') == 'decoder_cls':
        width = decoder.argument('out_channels') if decoder else None
        source = 'model.neck.out_channels'
    projected = projector.argument('out_channels') if projector else None
    for node, key, value, origin in (
        (further, 'out_channels', width, source),
        (projector, 'in_channels', width, source),
        (predictor, 'in_channels', projected, 'model.projector.out_channels'),
        (predictor, 'out_channels', projected, 'model.projector.out_channels'),
    ):
        given = node.argument(key) if node else None
        if value is not None and given not in (None, value):
            yield _tell(f'{node.path}.{key}', given, f'must be {value}, the width of {origin}')


def check_positions(cfg: dict, nodes: list[Node]) -> Iterator[str]:
    """The task of telling positions knows as many as there are patches."""
    node, encoder = _node(nodes, 'model.position_head'), _encoder(nodes)
    model = _node(nodes, 'model')
    if not _is(node, PositionHead) or model.argument('position_weight') == 0:
        return
    for key, known in (('loss', LOSSES), ('input_pe', INPUTS)):
        value = node.argument(key)
        if value not in known:
            yield _tell(
                f'{node.path}.{key}', value, f'no such {key}, {_nearest(str(value), known)}'
            )
    width, positions, smoothing = map(node.argument, ('in_channels', 'num_positions', 'smoothing'))
    if encoder and width not in (None, encoder.blocks[-1].width):
        remedy = f'must be {encoder.blocks[-1].width}, the width of model.backbone'
        yield _tell(f'{node.path}.in_channels', width, remedy)
    for path, size in image_sizes(nodes).items() if encoder else ():
        patches = size[0] // encoder.unit * (size[1] // encoder.unit)
        if positions not in (None, patches):
            remedy = f'must be {patches}, the patches of {path} = {size}'
            yield _tell(f'{node.path}.num_positions', positions, remedy)
            break
    if smoothing:
        yield from _check_mover(nodes, f'{node.path}.smoothing', smoothing, ProgressHook)


# Parts of the names of transforms that move what is in an image.
MOVING = ('Affine', 'Albu', 'Augment', 'Crop', 'Flip', 'Rotate', 'Shear', 'Translate')


def check_crops(cfg: dict, nodes: list[Node]) -> Iterator[str]:
    """ContrastiveCrop and the hook that finds its boxes need each other, and numbered images."""
    hook = next((node for node in nodes if _is(node, RefreshCropsHook)), None)
    crops = [node for node in nodes if _is(node, ContrastiveCrop)]
    guided = [node for node in crops if node.config.get('box') is None]
    for node in guided:
        if not node.path.startswith('train_dataloader.'):
            remedy = 'boxes are found for train_dataloader only, give box or another crop'
            yield _tell(f'{node.path}.type', node.config['type'], remedy)
        elif hook is None:
            remedy = (
                "gets no boxes, add dict(type='mmmask.RefreshCropsHook') to the hooks, or give it "
                'a fixed box such as (0.25, 0.25, 0.75, 0.75)'
            )
            yield _tell(f'{node.path}.type', node.config['type'], remedy)
        owner = _node(nodes, node.path.partition('.pipeline.')[0])
        if owner and inspect.isclass(owner.built) and not issubclass(owner.built, BaseDataset):
            remedy = 'does not number its images for ContrastiveCrop, take a mmmask.ImageFolder'
            yield _tell(f'{owner.path}.type', owner.config['type'], remedy)
        for other in _before(node, nodes):
            name = other.built.__name__  # the middle is the same in the search for boxes
            if name != 'CenterCrop' and any(part in name for part in MOVING):
                remedy = f'moves the image away from its box, put it after {node.path}'
                yield _tell(f'{other.path}.type', other.config['type'], remedy)
    if hook is not None:
        if not guided:
            remedy = 'finds boxes that nothing uses, put mmmask.ContrastiveCrop into the pipeline'
            yield _tell(f'{hook.path}.type', hook.config['type'], remedy)
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
    backbone, loop = _node(nodes, 'model.backbone'), _node(nodes, 'train_cfg')
    if kind not in HEAT_MAPS:
        remedy = f'no such heat-map, {_nearest(str(kind), HEAT_MAPS)}'
        yield _tell(f'{hook.path}.heat_map', kind, remedy)
    elif kind == 'cls_attn' and backbone is not None:
        has_class_token = backbone.argument('with_cls_token') is not False
        if not (_is(backbone, VisionTransformer) and has_class_token):
            remedy = "needs a vision transformer with a class token, use 'feat_norm' or 'feat_sum'"
            yield _tell(f'{hook.path}.heat_map', kind, remedy)
    if not (isinstance(threshold, int | float) and 0 < threshold < 1):
        yield _tell(f'{hook.path}.threshold', threshold, 'must lie in (0, 1), such as 0.3')
    for name, value in (('warmup', warmup), ('interval', interval)):
        is_number = isinstance(value, int | float) and value >= 0
        if not is_number or (value > 1 and value % 1) or (name == 'interval' and value == 0):
            remedy = 'must be a number of epochs, or below 1 a share of them, such as 0.2'
            yield _tell(f'{hook.path}.{name}', value, remedy)
            return
    if _is(loop, IterBasedTrainLoop):
        remedy = 'counts epochs, train by epochs or give ContrastiveCrop a fixed box'
        yield _tell(f'{hook.path}.type', hook.config['type'], remedy)
        return
    epochs = loop.config.get('max_epochs') if loop else None
    if _is_positive(epochs) and not any(
        is_due(epoch, epochs, warmup, interval) for epoch in range(1, epochs + 1)
    ):
        remedy = (
            f'with warmup = {warmup} no box is ever found in {epochs} epochs, lower them, for '
            'example to warmup=0.2, interval=0.2'
        )
        yield _tell(f'{hook.path}.interval', interval, remedy)


def _levels(nodes: list[Node]) -> list[int] | None:
    """Channels of the maps that the neck of MaskDeep reads, where the backbone is a ResNet."""
    backbone, pyramid = _node(nodes, 'model.backbone'), _node(nodes, 'model.fpn')
    if pyramid is not None:
        widths = pyramid.argument('in_channels')
        return [pyramid.argument('out_channels')] * len(widths) if widths else None
    if not _is(backbone, ResNet):
        return None
    depth, base, indices = map(backbone.argument, ('depth', 'base_channels', 'out_indices'))
    if depth not in backbone.built.arch_settings or not _is_positive(base):
        return None
    expansion = get_expansion(backbone.built.arch_settings[depth][0])
    return [base * expansion * 2**index for index in indices]


def check_levels(cfg: dict, nodes: list[Node]) -> Iterator[str]:
    """Encoder, masks and neck of MaskDeep have the same levels, down to the last stage."""
    if not _is(_node(nodes, 'model'), MaskDeep):
        return
    backbone, neck = _node(nodes, 'model.backbone'), _node(nodes, 'model.neck')
    masking, levels = _node(nodes, 'model.masking'), _levels(nodes)
    indices, stages = backbone.argument('out_indices'), backbone.argument('num_stages')
    if indices and stages and stages - 1 not in indices:
        remedy = f'must end with {stages - 1}, the last stage, of which the target is made'
        yield _tell('model.backbone.out_indices', indices, remedy)
    if not _is(neck, DeepMaskingNeck):
        return
    channels, fusion, targets = map(neck.argument, ('in_channels', 'fusion', 'targets'))
    if levels and list(channels) != levels:
        remedy = f'must be {levels}, the channels of the maps of model.backbone'
        remedy += ' behind model.fpn' if _node(nodes, 'model.fpn') else ''
        yield _tell('model.neck.in_channels', channels, remedy)
    if (masking is None) != (fusion is None):
        remedy = 'masking and neck.fusion go together: give both, or set both to None for BYOL'
        yield _tell('model.neck.fusion', fusion, remedy)
    is_read = {level % len(channels) for level, _ in targets}
    if fusion is None and len(is_read) < len(channels):
        remedy = f'without masking only level {max(is_read)} is read, the others would not train'
        yield _tell('model.neck.in_channels', channels, remedy)
    if any(not -len(channels) <= level < len(channels) for level, _ in targets):
        remedy = f'levels are 0 to {len(channels) - 1}, or counted from -1 backwards'
        yield _tell('model.neck.targets', targets, remedy)
    width, heads = map(neck.argument, ('embed_dims', 'num_heads'))
    if _is_positive(width) and _is_positive(heads) and width % heads:
        yield _tell('model.neck.num_heads', heads, f'must divide embed_dims = {width}')
    if _is_positive(width) and width % 4:
        yield _tell('model.neck.embed_dims', width, 'must be a multiple of 4, as sin-cos needs it')
    if not _is(masking, FeatureGroupMask):
        return
    ratios, groups = map(masking.argument, ('ratios', 'num_groups'))
    if len(ratios) != len(channels):
        remedy = f'must be {len(channels)} ratios, one for each level of model.neck'
        yield _tell('model.masking.ratios', ratios, remedy)
    if any(not (isinstance(ratio, int | float) and 0 <= ratio < 1) for ratio in ratios):
        remedy = 'must lie in [0, 1), the share of positions to hide, such as 0.75'
        yield _tell('model.masking.ratios', ratios, remedy)
    if not _is_positive(groups):
        yield _tell('model.masking.num_groups', groups, 'must be a whole number, at least 1')


def _num_views(nodes: list[Node]) -> int | None:
    """Views of each image that reach the model in training."""
    preprocessor = _node(nodes, 'model.data_preprocessor')
    if _is(preprocessor, AugmentingDataPreprocessor):
        return len(preprocessor.argument('views') or ())
    for node in nodes:
        if node.path.startswith('train_dataloader.') and _is(node, MultiView):
            views = node.argument('num_views')
            return sum(views) if isinstance(views, list | tuple) else views
    return None


def check_momentum_targets(cfg: dict, nodes: list[Node]) -> Iterator[str]:
    """MaskDeep gets the views that it learns from, and its targets move and are watched."""
    model, num_views = _node(nodes, 'model'), _num_views(nodes)
    if not _is(model, MaskDeep):
        return
    online, own = map(model.argument, ('num_views', 'include_self_target'))
    least = max(online, 2 - bool(own)) if _is_positive(online) else None
    if least is None:
        yield _tell('model.num_views', online, 'must be a whole number, at least 1')
    elif num_views is not None and num_views < least:
        remedy = f'the data has {num_views} view(s) of each image but {least} are needed'
        yield _tell('model.num_views', online, f'{remedy}, add some to MultiView or lower it')
    for key in ('momentum', 'final_momentum'):
        value = model.argument(key)
        if not (isinstance(value, int | float) and 0 <= value <= 1):
            yield _tell(f'model.{key}', value, 'must lie in [0, 1], such as 0.99')
    momentum, neck = model.argument('momentum'), _node(nodes, 'model.neck')
    yield from _check_mover(nodes, 'model.momentum', momentum, MomentumUpdateHook)
    if not _is(neck, DeepMaskingNeck):
        return
    num_levels = len(neck.argument('in_channels'))
    places = {f'target.module.projectors.{lv % num_levels}' for lv, _ in neck.argument('targets')}
    for node in nodes:
        place = node.config.get('module')
        if _is(node, CollapseHook) and str(place).startswith('target.') and place not in places:
            remedy = f'does not give the targets, use {" or ".join(sorted(places))}'
            yield _tell(f'{node.path}.module', place, remedy)


CHECKS = (
    check_top_level,
    check_groups,
    check_types,
    check_arguments,
    check_names,
    check_numbers,
    check_schedules,
    check_start,
    check_hooks,
    check_sources,
    check_encoder,
    check_image_size,
    check_windows,
    check_mask_ratio,
    check_decoders,
    check_target,
    check_evolution,
    check_views,
    check_contrast,
    check_positions,
    check_crops,
    check_levels,
    check_momentum_targets,
)

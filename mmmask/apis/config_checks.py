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
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from mmengine import registry as root
from mmengine.logging import print_log
from mmengine.optim import AmpOptimWrapper, LinearLR
from mmengine.runner import Runner
from mmpretrain.models.backbones import VisionTransformer

from mmmask.datasets import ImageFolder
from mmmask.engine.hooks import MomentumUpdateHook, ProgressHook
from mmmask.masking import BlockMask
from mmmask.models import (
    EncoderParser,
    MaskedVisionTransformer,
    MultiScaleDecoder,
    TokenDecoder,
)
from mmmask.targets import HOGTarget, PixelTarget

from .config_nodes import BUILT, CONSUMED, REQUIRED, SUPPLIED, Node, known_types, parameters

TOP_LEVEL = {
    *inspect.signature(Runner.__init__).parameters,
    *BUILT,
    *('runner_type', 'custom_imports', 'compile', 'model_wrapper_cfg', 'sync_bn'),
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
ARCHITECTURE = ('embed_dims', 'num_layers', 'num_heads', 'feedforward_channels')


def _tell(path: str, value, remedy: str) -> str:
    value = repr(value)
    return f'{path} = {value if len(value) <= 60 else value[:57] + "..."}: {remedy}'


def _nearest(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean '{close[0]}'?" if close else f'use one of {", ".join(sorted(known))}'


def _is_positive(value) -> bool:
    return isinstance(value, int) and value > 0


def _is(node: Node | None, kind: type) -> bool:
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
    for key, value in cfg.items():
        if key in BUILT and not isinstance(value, dict | list | tuple | None):
            yield _tell(key, value, 'must be a dict, or a list of them')
        if key in TOP_LEVEL or key.startswith('_'):
            continue
        close = difflib.get_close_matches(key, TOP_LEVEL, n=1, cutoff=0.85)
        if close:
            yield _tell(key, value, f"unknown key, did you mean '{close[0]}'?")
        elif key in FORMER_KEYS and value is not None and value not in used:
            yield _tell(key, value, f'is read no more, use {FORMER_KEYS[key]}')


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
    default = {node.built: node.path for node in hooks if node.path.startswith('default_hooks.')}
    custom = [node for node in hooks if node.path.startswith('custom_hooks.')]
    for index, node in enumerate(custom):
        twins = [other.path for other in custom[:index] if other.config == node.config]
        if twins:
            yield _tell(node.path, node.config, f'the same as {twins[0]}, remove one of them')
        elif node.built is not None and node.built in default:
            remedy = f'would run beside the one in {default[node.built]}, change that one instead'
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


class Encoder(NamedTuple):
    """The vision transformer that the other boxes must agree with."""

    width: int
    depth: int
    num_heads: int
    patch_size: int
    taps: list[int]


def _encoder(nodes: list[Node]) -> Encoder | None:
    """What is in ``model.backbone``, or None if it is something else or cannot be read."""
    node = _node(nodes, 'model.backbone')
    if not _is(node, VisionTransformer):
        return None
    arch, taps = node.argument('arch'), node.argument('out_indices')
    settings = node.built.arch_zoo.get(arch) if isinstance(arch, str) else arch
    numbers = [_get(settings, key) for key in ARCHITECTURE[:3]] + [node.argument('patch_size')]
    taps = list(taps) if isinstance(taps, list | tuple) else [taps]
    if not all(map(_is_positive, numbers)) or not all(isinstance(tap, int) for tap in taps):
        return None
    return Encoder(*numbers, taps)


def _sides(size) -> tuple[int, int] | None:
    sides = tuple(size) if isinstance(size, list | tuple) else (size, size)
    return sides if len(sides) == 2 and all(map(_is_positive, sides)) else None


def _image_sizes(nodes: list[Node]) -> dict[str, tuple[int, int]]:
    """Sizes of the training images: of the crops, or else of the last resizing."""
    crops, resizings = {}, {}
    for node in nodes:
        name = getattr(node.built, '__name__', '')
        if node.path.startswith('train_dataloader.') and ('Crop' in name or 'Resize' in name):
            for key in ('scale', 'crop_size', 'size'):
                if sides := _sides(node.config.get(key)):
                    (crops if 'Crop' in name else resizings)[f'{node.path}.{key}'] = sides
    return crops or dict(list(resizings.items())[-1:])


def check_encoder(cfg: dict, nodes: list[Node]) -> Iterator[str]:
    """Architecture and taps of a masked vision transformer."""
    node, encoder, path = _node(nodes, 'model.backbone'), _encoder(nodes), 'model.backbone'
    if not _is(node, MaskedVisionTransformer):
        return
    arch, zoo = node.argument('arch'), node.built.arch_zoo
    if isinstance(arch, str) and arch not in zoo:
        yield _tell(f'{path}.arch', arch, f'no such architecture, {_nearest(arch, zoo)}')
    if isinstance(arch, dict):
        for key in ARCHITECTURE:
            if key not in arch:
                yield f'{path}.arch.{key} is missing: an architecture needs it'
    if encoder is None:
        return
    width, depth, heads = encoder.width, encoder.depth, encoder.num_heads
    if width % heads:
        yield _tell(f'{path}.arch.num_heads', heads, f'must divide embed_dims = {width}')
    if width % 4:
        yield _tell(
            f'{path}.arch.embed_dims', width, 'must be a multiple of 4, as sin-cos needs it'
        )
    blocks = {tap + depth if tap < 0 else tap for tap in encoder.taps}
    if not blocks or not blocks <= set(range(depth)) or len(blocks) < len(encoder.taps):
        remedy = f'must be different blocks of 0 to {depth - 1}, or counted from -1 backwards'
        yield _tell(f'{path}.out_indices', encoder.taps, remedy)


def check_image_size(cfg: dict, nodes: list[Node]) -> Iterator[str]:
    """Patches, and blocks of them, tile the images."""
    encoder, masking = _encoder(nodes), _node(nodes, 'model.masking')
    if encoder is None:
        return
    patch, declared = (
        encoder.patch_size,
        _sides(_node(nodes, 'model.backbone').argument('img_size')),
    )
    block = masking.argument('block_size') if _is(masking, BlockMask) else 1
    for path, size in {'model.backbone.img_size': declared, **_image_sizes(nodes)}.items():
        if size is None:
            continue
        if any(side % patch for side in size):
            example = patch * max(1, round(size[0] / patch))
            remedy = f'must be a multiple of model.backbone.patch_size = {patch}, such as {example}'
            yield _tell(path, size, remedy)
        elif _is_positive(block) and any(side // patch % block for side in size):
            grid = 'x'.join(str(side // patch) for side in size)
            remedy = f'must divide the {grid} patches of {path} = {size}'
            yield _tell('model.masking.block_size', block, remedy)
        elif declared and sorted(size) != sorted(declared):
            print_log(
                f'{path} = {size} is not model.backbone.img_size = {declared}: the position '
                'embedding is interpolated at every step.',
                logger='current',
                level=logging.WARNING,
            )


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
    for node in decoders:
        width, heads, channels = map(node.argument, ('embed_dims', 'num_heads', 'in_channels'))
        if _is_positive(width) and _is_positive(heads) and width % heads:
            yield _tell(f'{node.path}.num_heads', heads, f'must divide embed_dims = {width}')
        if _is_positive(width) and width % 4:
            remedy = 'must be a multiple of 4, as sin-cos needs it'
            yield _tell(f'{node.path}.embed_dims', width, remedy)
        if encoder and channels not in (None, encoder.width):
            remedy = f'must be {encoder.width}, the width of model.backbone'
            yield _tell(f'{node.path}.in_channels', channels, remedy)
    is_multi_scale = _is(_node(nodes, 'model.neck'), MultiScaleDecoder)
    if encoder and is_multi_scale and len(decoders) != len(encoder.taps):
        remedy = f'must be {len(decoders)} blocks, one for each decoder in model.neck'
        yield _tell('model.backbone.out_indices', encoder.taps, remedy)


def check_target(cfg: dict, nodes: list[Node]) -> Iterator[str]:
    """The target has the scales, grids and channels that the decoders predict."""
    target, decoders, encoder = _node(nodes, 'model.target_generator'), _decoders(nodes), None
    is_hog = _is(target, HOGTarget)
    if not decoders or not (is_hog or _is(target, PixelTarget)):
        return
    encoder = _encoder(nodes)
    key = 'cell_sizes' if is_hog else 'patch_size'
    path, sizes, num_bins = (
        f'{target.path}.{key}',
        target.argument(key),
        target.argument('num_bins'),
    )
    sizes = list(sizes) if isinstance(sizes, list | tuple) else [sizes]
    if not all(map(_is_positive, sizes)) or (is_hog and not _is_positive(num_bins)):
        yield _tell(target.path, target.config, f'{key} and num_bins must be whole numbers above 0')
    elif len(sizes) != len(decoders):
        yield _tell(path, sizes, f'must be {len(decoders)} scales, one for each decoder')
    else:
        for index, (size, decoder) in enumerate(zip(sizes, decoders, strict=True)):
            values = 3 * (num_bins if is_hog else size**2)
            channels, scale = decoder.argument('out_channels'), decoder.argument('scale') or 1
            if channels not in (None, values):
                sum_up = (
                    f'3 colours * {num_bins} bins' if is_hog else f'3 colours * {size}^2 pixels'
                )
                remedy = f'must be {values} = {sum_up}'
                yield _tell(f'{decoder.path}.out_channels', channels, remedy)
            if encoder and isinstance(scale, int | float) and size * scale != encoder.patch_size:
                remedy = (
                    f'scale {index} is {size} px, but {decoder.path} with scale={scale} predicts '
                    f'patches of {encoder.patch_size / scale:g} px'
                )
                yield _tell(path, sizes, remedy)
            for place, image in _image_sizes(nodes).items():
                if any(side % size for side in image):
                    yield _tell(
                        path, sizes, f'{size} does not divide the images, {place} = {image}'
                    )


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
        if not any(_is(node, hook) for node in nodes):
            name = hook.__name__
            yield _tell(path, value, f"never moves on, add dict(type='mmmask.{name}') to the hooks")


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
    check_mask_ratio,
    check_decoders,
    check_target,
    check_evolution,
)

"""Keys and types: nothing is misspelt, and nothing is missing."""

import difflib
import inspect
import logging
from collections.abc import Iterator

from mmengine import registry as root
from mmengine.logging import print_log
from mmengine.runner import Runner

from ..config_nodes import BUILT, CONSUMED, REQUIRED, SUPPLIED, Node, known_types, parameters
from .rules import nearest, tell, value_at

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
# Arguments that an algorithm fills in from its other components.
DERIVED = ('in_channels', 'out_channels', 'num_positions', 'patch_size')
PARAMWISE_KEYS = (
    *('bias_lr_mult', 'bias_decay_mult', 'norm_decay_mult', 'dwconv_decay_mult'),
    *('flat_decay_mult', 'dcn_offset_lr_mult', 'bypass_duplicate', 'custom_keys'),
)


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
            yield tell(key, value, 'must be a dict, or a list of them')
        if key in TOP_LEVEL or key.startswith('_'):
            continue
        close = difflib.get_close_matches(key, TOP_LEVEL, n=1, cutoff=0.85)
        if close:
            yield tell(key, value, f"unknown key, did you mean '{close[0]}'?")
        elif key in FORMER_KEYS and value is not None and value not in used:
            line = tell(key, value, f'is read no more, use {FORMER_KEYS[key]}')
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
        yield tell(f'{node.path}.type', name, f'no such {node.registry.name}, {remedy}')


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
                remedy = f'unknown key of {owner}, {nearest(str(key), reads)}'
                yield tell(f'{node.path}.{key}', value, remedy)
        given = {*node.config, *supplied, *DERIVED, *configs.get(node.path.rpartition('.')[0], {})}
        is_complete = not is_part and node.registry is not root.FUNCTIONS
        for key, default in takes.items() if is_complete else ():
            if default is REQUIRED and key not in given:
                yield f'{node.path}.{key} is missing: {owner} needs it'


def check_names(cfg: dict, nodes: list[Node]) -> Iterator[str]:
    """Keys that are no arguments: the names of default hooks, and ``paramwise_cfg``."""
    hooks = cfg.get('default_hooks')
    for key, hook in hooks.items() if isinstance(hooks, dict) else ():
        if not isinstance(hook, dict):
            continue
        close = difflib.get_close_matches(key, DEFAULT_HOOKS, n=1, cutoff=0.8)
        if 'type' not in hook:
            remedy = (
                'a new hook needs a type, and those of custom_hooks are changed by number, as '
                f'custom_hooks.0; {nearest(key, hooks.keys() - {key})}'
            )
            yield tell(f'default_hooks.{key}', hook, remedy)
        elif key not in DEFAULT_HOOKS and close:
            yield tell(f'default_hooks.{key}', hook, f"unknown key, did you mean '{close[0]}'?")
    options = value_at(cfg, 'optim_wrapper.paramwise_cfg')
    if isinstance(options, dict) and value_at(cfg, 'optim_wrapper.constructor') is None:
        for key, value in options.items():
            if key not in PARAMWISE_KEYS:
                remedy = f'unknown key, {nearest(str(key), PARAMWISE_KEYS)}'
                yield tell(f'optim_wrapper.paramwise_cfg.{key}', value, remedy)


CHECKS = (check_top_level, check_groups, check_types, check_arguments, check_names)

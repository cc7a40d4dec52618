"""Keys and types: nothing is misspelled, and nothing is missing."""

import difflib
import inspect
import logging
from collections.abc import Iterator

from mmengine import registry as root
from mmengine.logging import print_log
from mmengine.runner import Runner

from ..config_nodes import BUILT, CONSUMED, REQUIRED, SUPPLIED, known_types, parameters
from .rules import Plan, nearest, report

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


def check_top_level(plan: Plan) -> Iterator[str]:
    """No key that mmengine ignores.

    A config may hold variables of its own beside the keys that mmengine reads, such as
    ``train_pipeline``. A name that mmengine does not read is an error if it resembles one that it
    reads, or if mmcv used to read it and no other part of the config uses its value. Names with a
    leading underscore are always variables.
    """
    used = [value for key in BUILT for value in _contents(plan.cfg.get(key))]
    # Configs of mmdet and mmseg inherit such leftovers from the configs of these packages.
    is_foreign = plan.cfg.get('default_scope') in ('mmdet', 'mmseg')
    for key, value in plan.cfg.items():
        if key in BUILT and not isinstance(value, dict | list | tuple | None):
            yield report(key, value, 'must be a dict or a list of dicts')
        if key in TOP_LEVEL or key.startswith('_'):
            continue
        close = difflib.get_close_matches(key, TOP_LEVEL, n=1, cutoff=0.85)
        if close:
            yield report(key, value, f"is an unknown key: did you mean '{close[0]}'?")
        elif key in FORMER_KEYS and value is not None and value not in used:
            line = report(key, value, f'is no longer read: use {FORMER_KEYS[key]}')
            if not is_foreign:
                yield line
            else:
                print_log(line, logger='current', level=logging.WARNING)


def _contents(value) -> Iterator:
    yield value
    if isinstance(value, dict | list | tuple):
        for child in value.values() if isinstance(value, dict) else value:
            yield from _contents(child)


def check_groups(plan: Plan) -> Iterator[str]:
    """A model, and all or none of the keys that training, validation and test require."""
    if plan.cfg.get('model') is None:
        yield 'model is missing: inherit one of configs/_base_/models through _base_'
    for group in GROUPS:
        missing = [key for key in group if plan.cfg.get(key) is None]
        if 0 < len(missing) < len(group):
            yield f'{", ".join(missing)} missing: give all of {", ".join(group)}, or none of them'


def check_types(plan: Plan) -> Iterator[str]:
    """Every ``type`` is in the registry that mmengine looks into."""
    for node in plan.nodes:
        name, is_inside = node.config.get('type'), len(node.candidates) > 1
        if node.built is not None or (is_inside and str(name).islower()):
            continue  # inside a model, a type may be an option that is in no registry
        if node.path.endswith('.roi_layer'):
            continue  # mmdet takes these from mmcv.ops
        if name is None:
            yield f'{node.path}.type is missing: give the type of a {node.registry.name}'
            continue
        bare = str(name).rpartition('.')[-1]
        for candidates in (node.candidates[:1], node.candidates):
            known = known_types(candidates)
            close = difflib.get_close_matches(bare, known, n=1)
            if close:
                break
        other = 'check its scope prefix, or import its module through custom_imports'
        remedy = f"write '{known[close[0]]}'" if close else other
        yield report(
            f'{node.path}.type', name, f'is not a registered {node.registry.name}: {remedy}'
        )


def check_arguments(plan: Plan) -> Iterator[str]:
    """Every key is an argument of the component, and no argument without a default is missing.

    Where any key is accepted, only keys that resemble a named one are reported. What is missing in
    a component that was tried is reported by the trial, as other components may derive it.
    """
    for node in plan.nodes:
        if node.built is None:
            continue
        takes, closed = parameters(node.built)
        supplied = SUPPLIED.get(node.registry, set())
        reads = CONSUMED.get(node.registry, set()) | takes.keys() - supplied
        # The owner of a norm_cfg, act_cfg, ... completes it, and removes requires_grad from it.
        is_part = node.registry is root.MODELS and node.path.endswith(('_cfg', '_layer'))
        known = {*reads, *takes, 'type', '_scope_', *(['requires_grad'] if is_part else [])}
        for key, value in node.config.items():
            is_near = key not in known and difflib.get_close_matches(str(key), reads, 1, 0.85)
            if key not in known and (closed or is_near):
                remedy = f'is an unknown key of {node.name}: {nearest(str(key), reads)}'
                yield report(f'{node.path}.{key}', value, remedy)
        given = {*node.config, *supplied}
        is_complete = not is_part and node.registry is not root.FUNCTIONS
        is_complete = is_complete and node.path not in plan.tried
        for key, default in takes.items() if is_complete else ():
            if default is REQUIRED and key not in given:
                yield f'{node.path}.{key} is missing: {node.name} requires it'


def check_names(plan: Plan) -> Iterator[str]:
    """Keys that are not arguments: the names of default hooks, and ``paramwise_cfg``."""
    hooks = plan.cfg.get('default_hooks')
    for key, hook in hooks.items() if isinstance(hooks, dict) else ():
        if not isinstance(hook, dict):
            continue
        close = difflib.get_close_matches(key, DEFAULT_HOOKS, n=1, cutoff=0.8)
        if 'type' not in hook:
            remedy = (
                'has no type: a new hook needs one, and the hooks in custom_hooks are changed by '
                f'number, as custom_hooks.0; {nearest(key, hooks.keys() - {key})}'
            )
            yield report(f'default_hooks.{key}', hook, remedy)
        elif key not in DEFAULT_HOOKS and close:
            rule = f"is an unknown key: did you mean '{close[0]}'?"
            yield report(f'default_hooks.{key}', hook, rule)
    backends = plan.value('visualizer.vis_backends')
    for index, backend in enumerate(backends if isinstance(backends, list | tuple) else ()):
        if not isinstance(backend, dict):
            rule = 'must be a dict: on the command line, write visualizer.vis_backends.0.type=NAME'
            yield report(f'visualizer.vis_backends.{index}', backend, rule)
    options = plan.value('optim_wrapper.paramwise_cfg')
    if isinstance(options, dict) and plan.value('optim_wrapper.constructor') is None:
        for key, value in options.items():
            if key not in PARAMWISE_KEYS:
                remedy = f'is an unknown key: {nearest(str(key), PARAMWISE_KEYS)}'
                yield report(f'optim_wrapper.paramwise_cfg.{key}', value, remedy)


CHECKS = (check_top_level, check_groups, check_types, check_arguments, check_names)

"""The run: its length, rates, start, hooks and sources of images."""

import inspect
import os
from collections.abc import Iterator

from mmengine import registry as root
from mmengine.optim import AmpOptimWrapper, LinearLR

from mmmask.datasets import ImageFolder
from mmmask.datasets.sources import missing_path

from .rules import Plan, is_a, is_number, is_positive, nearest, report, report_key

COUNTS = (
    *(f'{split}_dataloader.batch_size' for split in ('train', 'val', 'test')),
    *('train_cfg.max_epochs', 'train_cfg.max_iters'),
    *('optim_wrapper.accumulative_counts', 'auto_scale_lr.base_batch_size'),
)
RATES = ('optim_wrapper.optimizer.lr', 'optim_wrapper.optimizer.weight_decay')


def check_numbers(plan: Plan) -> Iterator[str]:
    """Counts and rates."""
    for path in COUNTS:
        value = plan.value(path)
        if value is not None and not is_positive(value):
            yield report(path, value, 'must be an integer of at least 1')
    for path in RATES:
        value = plan.value(path)
        if value is not None and not (is_number(value) and value >= 0):
            yield report(path, value, 'must be a number of at least 0')
    optimizer = plan.value('optim_wrapper.optimizer')
    if isinstance(optimizer, dict) and plan.value('auto_scale_lr') and 'lr' not in optimizer:
        yield 'optim_wrapper.optimizer.lr is missing: auto_scale_lr requires it'


def check_schedules(plan: Plan) -> Iterator[str]:
    """Schedules that count epochs start, and warm-ups end, within the run."""
    epochs = plan.value('train_cfg.max_epochs')
    for node in plan.nodes if is_positive(epochs) else ():
        if node.registry is not root.PARAM_SCHEDULERS or node.config.get('by_epoch') is False:
            continue
        for key in ('begin', 'end') if is_a(node, LinearLR) else ('begin',):
            value = node.config.get(key)
            if value is not None and not (is_number(value) and 0 <= value < epochs):
                rule = f'must lie in [0, {epochs}): lower it or raise train_cfg.max_epochs'
                yield report_key(node, key, rule)


def check_start(plan: Plan) -> Iterator[str]:
    """The checkpoint that a run starts from, and its precision."""
    resume, path = plan.cfg.get('resume', False), plan.cfg.get('load_from')
    if not isinstance(resume, bool):
        rule = 'must be True or False: name the checkpoint in load_from and set resume=True'
        yield report('resume', resume, rule)
    if isinstance(path, str) and '://' not in path and not os.path.exists(path):
        yield report('load_from', path, 'does not exist: correct the path or set it to None')
    node = plan.node('optim_wrapper')
    dtype, known = node and node.argument('dtype'), AmpOptimWrapper.valid_dtypes
    if is_a(node, AmpOptimWrapper) and isinstance(dtype, str) and dtype not in known:
        yield report_key(node, 'dtype', f'is unknown: {nearest(dtype, known)}')


def check_hooks(plan: Plan) -> Iterator[str]:
    """No hook acts twice."""
    hooks = [node for node in plan.nodes if node.registry is root.HOOKS]
    hooks = [node for node in hooks if node.path.count('.') == 1]
    custom = [node for node in hooks if node.path.startswith('custom_hooks.')]
    for index, node in enumerate(custom):
        twins = [other.path for other in custom[:index] if other.config == node.config]
        if twins:
            yield report(node.path, node.config, f'repeats {twins[0]}: remove one of them')
            continue
        for other in hooks if inspect.isclass(node.built) else ():
            if other.path.startswith('default_hooks.') and is_a(other, node.built):
                rule = f'would run in addition to {other.path}: change that one instead'
                yield report_key(node, 'type', rule)


def check_sources(plan: Plan) -> Iterator[str]:
    """Folders and archives of images exist."""
    places: dict[str, list[str]] = {}
    for node in plan.nodes:
        if is_a(node, ImageFolder) and isinstance(node.config.get('source'), str):
            places.setdefault(node.config['source'], []).append(f'{node.path}.source')
    for source, (path, *others) in places.items():
        if missing := missing_path(source):
            also = f' (also used in {", ".join(others)})' if others else ''
            yield report(path, missing, f'does not exist{also}: give a folder or a .zip of images')


CHECKS = (check_numbers, check_schedules, check_start, check_hooks, check_sources)

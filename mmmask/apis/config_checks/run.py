"""The run: its length, rates, start, hooks and images."""

import inspect
import os
from collections.abc import Iterator

from mmengine import registry as root
from mmengine.optim import AmpOptimWrapper, LinearLR

from mmmask.datasets import ImageFolder

from ..config_nodes import Node
from .rules import is_a, is_number, is_positive, must_be_known, node_at, tell, tell_key, value_at


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
        value = value_at(cfg, path)
        if value is not None and not is_positive(value):
            yield tell(path, value, 'must be a whole number, at least 1')
    for path in ('optim_wrapper.optimizer.lr', 'optim_wrapper.optimizer.weight_decay'):
        value = value_at(cfg, path)
        if value is not None and not (is_number(value) and value >= 0):
            yield tell(path, value, 'must be a number, 0 or more')
    optimizer = value_at(cfg, 'optim_wrapper.optimizer')
    if isinstance(optimizer, dict) and cfg.get('auto_scale_lr') and 'lr' not in optimizer:
        yield 'optim_wrapper.optimizer.lr is missing: auto_scale_lr needs a rate to scale'


def check_schedules(cfg: dict, nodes: list[Node]) -> Iterator[str]:
    """Schedules that count epochs start, and warm-ups end, within the run."""
    epochs = value_at(cfg, 'train_cfg.max_epochs')
    for node in nodes if is_positive(epochs) else ():
        if node.registry is not root.PARAM_SCHEDULERS or node.config.get('by_epoch') is False:
            continue
        for key in ('begin', 'warmup_epochs', 'end' if is_a(node, LinearLR) else 'begin'):
            value = node.config.get(key)
            if value is not None and not (is_number(value) and 0 <= value < epochs):
                remedy = f'must lie in [0, {epochs}): lower it, or raise train_cfg.max_epochs'
                yield tell_key(node, key, remedy)


def check_start(cfg: dict, nodes: list[Node]) -> Iterator[str]:
    """The checkpoint that a run starts from, and its precision."""
    resume, path = cfg.get('resume', False), cfg.get('load_from')
    if not isinstance(resume, bool):
        remedy = 'must be True or False; name the checkpoint in load_from and set resume=True'
        yield tell('resume', resume, remedy)
    if isinstance(path, str) and '://' not in path and not os.path.exists(path):
        yield tell('load_from', path, 'does not exist, correct the path or set it to None')
    node = node_at(nodes, 'optim_wrapper')
    if is_a(node, AmpOptimWrapper) and isinstance(node.argument('dtype'), str):
        yield from must_be_known(node, 'dtype', AmpOptimWrapper.valid_dtypes, 'precision')


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
            yield tell(node.path, node.config, f'the same as {twins[0]}, remove one of them')
            continue
        for built, place in default.items():
            if inspect.isclass(node.built) and issubclass(built, node.built):
                remedy = f'would run beside the one in {place}, change that one instead'
                yield tell_key(node, 'type', remedy)


def check_sources(cfg: dict, nodes: list[Node]) -> Iterator[str]:
    """Folders and archives of images exist."""
    places: dict[str, list[str]] = {}
    for node in nodes:
        if is_a(node, ImageFolder) and isinstance(node.config.get('source'), str):
            places.setdefault(node.config['source'], []).append(f'{node.path}.source')
    for source, (path, *others) in places.items():
        if not os.path.exists(os.path.expanduser(source)):
            also = f' (nor for {", ".join(others)})' if others else ''
            yield tell(path, source, f'does not exist{also}, give a folder or a .zip of images')


CHECKS = (check_numbers, check_schedules, check_start, check_hooks, check_sources)

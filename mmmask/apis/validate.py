"""Every mistake of a config is reported before data is read or memory is allocated."""

import copy
import os
from importlib.util import find_spec
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import DefaultScope

from mmmask.command_line import expand_home

from .config_checks import CHECKS, image_sizes
from .config_checks.rules import Plan, is_positive
from .config_checks.run import check_sources
from .config_nodes import find_nodes
from .config_options import ConfigError, merge_options
from .config_trial import Trial


def read_config(path: str | os.PathLike, options: dict | None = None) -> Config:
    """Read a config file and apply the options of a command line, dotted keys and values, to it.

    In values that begin with ``~/`` the home folder replaces ``~``: mmdet and mmseg do not do so.

    Raises:
        FileNotFoundError: if the file does not exist.
        ConfigError: if the file cannot be executed, or an option does not fit it.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f'config {str(path)!r} does not exist.')
    try:
        cfg = Config.fromfile(path)
    except Exception as error:
        # mmengine's parser does not name the file of an error of syntax.
        reason = f'{type(error).__name__}: {error}'.replace('<unknown>, ', '')
        raise ConfigError(f'the config cannot be read. {reason}') from error
    merge_options(cfg, options or {})
    for key, value in cfg._to_lazy_dict().items():  # imports of mmengine's new configs stay imports
        cfg[key] = expand_home(value)
    return cfg


def validate_config(cfg: dict, reads_images: bool = True) -> None:
    """Refuse a config that cannot run, with all its errors in one message.

    mmengine ignores unknown keys and stops at the first mistake, sometimes long after the start.

    Args:
        reads_images: whether the run needs the folders and archives that the config names.

    Raises:
        ConfigError: with one line for each error.
    """
    scope = cfg.get('default_scope') or 'mmmask'
    if not isinstance(scope, str) or find_spec(scope) is None:
        errors = [f"default_scope={scope!r} is not a package: write 'mmmask' or install it"]
    else:
        with DefaultScope.overwrite_default_scope(scope):
            errors = list(dict.fromkeys(_find_errors(dict(cfg.items()), reads_images)))
    if errors:
        count = '1 error' if len(errors) == 1 else f'{len(errors)} errors'
        lines = [f'Found {count} in the config:', *(f'  - {error}' for error in errors)]
        raise ConfigError('\n'.join(lines))


def _find_errors(cfg: dict, reads_images: bool) -> list[str]:
    cfg = copy.deepcopy(cfg)  # some constructors change what they are given
    nodes = find_nodes(cfg)
    plan = Plan(cfg, nodes)
    max_epochs = plan.value('train_cfg.max_epochs')
    trial = Trial(nodes, max_epochs if is_positive(max_epochs) else None)
    trial.try_images(image_sizes(nodes))
    trial.try_optimizer(cfg.get('optim_wrapper'))
    plan = plan._replace(built=trial.built, tried=trial.tried)
    checks = [check for check in CHECKS if reads_images or check is not check_sources]
    return [*(line for check in checks for line in check(plan)), *trial.errors]

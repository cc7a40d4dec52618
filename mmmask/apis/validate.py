"""Every mistake of a config, found before anything is built."""

from importlib.util import find_spec

from .config_checks import CHECKS
from .config_nodes import find_nodes


class ConfigError(ValueError):
    """A config that cannot run; the message names every error with its key, value and remedy."""


def validate_config(cfg: dict) -> None:
    """Stop on a config that cannot run, before anything is built and any data is read.

    mmengine ignores keys that it does not know, and stops at one mistake at a time, some of them
    long after the start. Here all are told at once.

    Raises:
        ConfigError: with every error that was found, one a line.
    """
    scope = cfg.get('default_scope') or 'mmmask'
    if not isinstance(scope, str) or find_spec(scope) is None:
        errors = [f"default_scope = {scope!r}: no such package, write 'mmmask' or install it"]
    else:
        content = dict(cfg.items())
        nodes = find_nodes(content)
        errors = list(dict.fromkeys(line for check in CHECKS for line in check(content, nodes)))
    if errors:
        count = '1 error' if len(errors) == 1 else f'{len(errors)} errors'
        lines = [f'Found {count} in the config:', *(f'  - {error}' for error in errors)]
        raise ConfigError('\n'.join(lines))

"""Values of a command line that replace those of a config."""

from collections.abc import Iterator, Mapping

from mmengine.config import Config


class ConfigError(ValueError):
    """A config that cannot run; the message names every error with its key, value and remedy."""


def merge_options(cfg: Config, options: Mapping) -> None:
    """Put the values of ``--cfg-options`` into a config; what does not fit leaves it as it was.

    Args:
        cfg: the config, which is changed.
        options: dotted keys and values.

    Raises:
        ConfigError: for a key that does not fit the config.
    """
    try:
        cfg.merge_from_dict(options)
    except Exception as error:
        wrong = next(filter(None, (_wrong_index(cfg, key) for key in _dotted(options))), None)
        reason = wrong or f'{options} do not fit the config: {error}'
        raise ConfigError(f'cfg_options: {reason}') from error


def _dotted(options: Mapping, prefix: str = '') -> Iterator[str]:
    """The dotted keys of values that are merged into a config; lists replace what is there."""
    for key, value in options.items():
        if isinstance(value, Mapping) and value:
            yield from _dotted(value, f'{prefix}{key}.')
        else:
            yield f'{prefix}{key}'


def _wrong_index(cfg, key: str) -> str | None:
    """What is wrong with a dotted key that has an index for which a list has no entry."""
    node, path = cfg, ''
    for part in key.split('.'):
        if isinstance(node, list):
            if not part.isdigit() or int(part) >= len(node):
                number = f'{len(node)} {"entry" if len(node) == 1 else "entries"}'
                some = f'one of {path}.0 to {path}.{len(node) - 1}'
                use = 'use ' + (some if len(node) > 1 else f'{path}.0')
                remedy = use if node else 'leave this key out'
                return f'{key}: {path} is a list of {number} and has no {part!r}: {remedy}.'
            node = node[int(part)]
        elif hasattr(node, 'get'):  # a dict or the config
            node = node.get(part)
        path = f'{path}.{part}' if path else part
    return None

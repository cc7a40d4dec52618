"""What checks are made of: looking things up in a config, and rules that recur."""

import difflib
import inspect
from collections.abc import Collection, Iterator

from ..config_nodes import Node


def is_number(value) -> bool:
    return isinstance(value, int | float)


def is_positive(value) -> bool:
    return isinstance(value, int) and value > 0


def is_a(node: Node | None, kind: type | tuple[type, ...]) -> bool:
    return node is not None and inspect.isclass(node.built) and issubclass(node.built, kind)


def value_at(cfg, path: str):
    """The value at a dotted path, or None."""
    for key in path.split('.'):
        cfg = cfg.get(key) if isinstance(cfg, dict) else None
    return cfg


def node_at(nodes: list[Node], path: str) -> Node | None:
    return next((node for node in nodes if node.path == path), None)


def first_of(nodes: list[Node], kind: type) -> Node | None:
    return next((node for node in nodes if is_a(node, kind)), None)


def as_list(value) -> list:
    return list(value) if isinstance(value, list | tuple) else [value]


def tell(path: str, value, remedy: str) -> str:
    """One line of the message; what is long and no name of a file is cut."""
    text = repr(value)
    if len(text) > 60 and not isinstance(value, str):
        text = f'{text[:57]}...'
    return f'{path} = {text}: {remedy}'


def tell_key(node: Node, key: str, remedy: str) -> str:
    return tell(f'{node.path}.{key}', node.argument(key), remedy)


def nearest(name: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean '{close[0]}'?" if close else f'use one of {", ".join(sorted(known))}'


def must_be_known(node: Node, key: str, known: Collection[str], what: str) -> Iterator[str]:
    value = node.argument(key)
    if value not in known:
        yield tell_key(node, key, f'no such {what}, {nearest(str(value), known)}')


def must_be(node: Node | None, key: str, value: int | None, origin: str) -> Iterator[str]:
    """A number that another part decides, unless one of the two cannot be read."""
    if node is not None and value is not None and node.argument(key) not in (None, value):
        yield tell_key(node, key, f'must be {value}, {origin}')


def must_move(nodes: list[Node], node: Node, key: str, hook: type) -> Iterator[str]:
    """What changes over training has the hook that changes it."""
    if first_of(nodes, hook) is None:
        remedy = f"never moves on, add dict(type='mmmask.{hook.__name__}') to the hooks"
        yield tell_key(node, key, remedy)


def must_divide(path: str, width, heads) -> Iterator[str]:
    """Heads of attention share the width evenly."""
    if is_positive(width) and is_positive(heads) and width % heads:
        yield tell(f'{path}.num_heads', heads, f'must divide embed_dims = {width}')


def must_suit_sincos(path: str, width) -> Iterator[str]:
    """Sines and cosines of rows and columns fill the width of a position embedding."""
    if is_positive(width) and width % 4:
        yield tell(f'{path}.embed_dims', width, 'must be a multiple of 4, as sin-cos needs it')

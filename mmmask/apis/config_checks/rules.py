"""What checks are made of: the config and its components, and how errors are reported."""

import difflib
import inspect
from collections.abc import Collection
from typing import Any, NamedTuple

from ..config_nodes import Node
from ..config_trial import UnknownValue


class Plan(NamedTuple):
    """A config, what mmengine builds from it, and what a trial has built and tried."""

    cfg: dict
    nodes: list[Node]
    built: dict[str, Any] = {}
    tried: set[str] = set()

    def value(self, path: str) -> Any:
        """The value at a dotted path, or None."""
        value = self.cfg
        for key in path.split('.'):
            value = value.get(key) if isinstance(value, dict) else None
        return value

    def node(self, path: str) -> Node | None:
        return next((node for node in self.nodes if node.path == path), None)

    def part(self, path: str) -> Any:
        """What was built at a path, or None."""
        built = self.built.get(path)
        return None if isinstance(built, UnknownValue) else built

    def first(self, kind: type) -> Node | None:
        return next((node for node in self.nodes if is_a(node, kind)), None)


def is_number(value) -> bool:
    return isinstance(value, int | float)


def is_positive(value) -> bool:
    return isinstance(value, int) and value > 0


def is_a(node: Node | None, kind: type | tuple[type, ...]) -> bool:
    return node is not None and inspect.isclass(node.built) and issubclass(node.built, kind)


def report(path: str, value, rule: str) -> str:
    """One line of the message. Long values are cut, unless they are names of files."""
    text = repr(value)
    if len(text) > 60 and not isinstance(value, str):
        text = f'{text[:57]}...'
    return f'{path}={text} {rule}'


def report_key(node: Node, key: str, rule: str) -> str:
    return report(f'{node.path}.{key}', node.argument(key), rule)


def nearest(name: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean '{close[0]}'?" if close else f'use one of {", ".join(sorted(known))}'

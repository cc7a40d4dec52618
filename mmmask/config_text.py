"""Configs as text, which checkpoints and logs carry: read and compared, never executed."""

import ast
import re
from typing import Any

UNREADABLE = '(config)'
# Where a run lies and what it prints, as opposed to what it computes.
SURROUNDINGS = re.compile(
    r'(env_cfg|experiment_name|launcher|load_from|log_level|model_wrapper_cfg|resume|visualizer'
    r'|work_dir)\b|.*\.(num_workers|persistent_workers|pin_memory|report_file)$'
)


class Expression(str):
    """Code in a config that is not a plain value, as text."""


class Absent:
    """The value of a key that a config does not have."""

    def __repr__(self) -> str:
        return 'absent'


ABSENT = Absent()


def compare_configs(before: str, now: str) -> dict[str, tuple[Any, Any]]:
    """Dotted keys whose values differ between two texts of configs: key -> (before, now).

    Keys that say where a run lies or what it prints are left out.
    """
    if before == now:
        return {}
    old, new = flatten(read_config(before)), flatten(read_config(now))
    return {
        key: (old.get(key, ABSENT), new.get(key, ABSENT))
        for key in old | new
        if old.get(key, ABSENT) != new.get(key, ABSENT) and not SURROUNDINGS.match(key)
    }


def read_config(text: str) -> dict[str, Any]:
    """The values of a config in the form of mmengine's ``pretty_text``.

    What is not a literal becomes an :class:`Expression`. A text that is not Python is kept as a
    whole under ``UNREADABLE``.
    """
    try:
        statements = ast.parse(text).body
    except SyntaxError:  # such as '<function ...>'
        return {UNREADABLE: text}
    return {
        statement.targets[0].id: _read_value(statement.value)
        for statement in statements
        if isinstance(statement, ast.Assign)
    }


def _read_value(node: ast.expr) -> Any:
    if isinstance(node, ast.Call) and ast.unparse(node.func) == 'dict':
        return {keyword.arg: _read_value(keyword.value) for keyword in node.keywords}
    if isinstance(node, ast.Dict):
        items = zip(node.keys, node.values, strict=True)
        return {ast.literal_eval(key): _read_value(value) for key, value in items}
    if isinstance(node, ast.List | ast.Tuple):
        return [_read_value(item) for item in node.elts]
    try:
        return ast.literal_eval(node)
    except ValueError:
        return Expression(ast.unparse(node))


def flatten(value: Any, path: str = '') -> dict[str, Any]:
    """Nested dicts and lists -> their leaves by dotted key; empty ones are leaves."""
    if not isinstance(value, dict | list) or not value:
        return {path: value}
    items = value.items() if isinstance(value, dict) else enumerate(value)
    leaves = {}
    for key, item in items:
        leaves |= flatten(item, f'{path}.{key}' if path else str(key))
    return leaves

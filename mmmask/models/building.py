"""Building components from their configs and from values that other components imply."""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

from mmmask.registry import MODELS


class Derived(NamedTuple):
    """A value that follows from another component, so that a config cannot choose it.

    Attributes:
        value: the argument; None if the other component does not report it.
        source: what it follows from, for error messages: ``'the width of model.backbone'``.
    """

    value: Any
    source: str


def build(config: dict, **arguments: Any) -> Any:
    """Build a component, with arguments that the algorithm knows.

    An argument is passed if the class or function of ``config`` accepts its name and its value is
    not None. A :class:`Derived` argument is fixed. Any other is a default that the config may
    override.

    Raises:
        ValueError: if the config states another value than the derived one.
    """
    with MODELS.switch_scope_and_registry(config.get('_scope_')) as registry:
        built = config.get('type')
        built = registry.get(built) if isinstance(built, str) else built
    accepted = {
        name: argument for name, argument in arguments.items() if built and accepts(built, name)
    }
    defaults = {}
    for name, argument in accepted.items():
        if isinstance(argument, Derived):
            check_derived(config, name, argument)
            argument = argument.value
        if argument is not None:
            defaults[name] = argument
    return MODELS.build(config, default_args=defaults)


def check_derived(config: dict, name: str, derived: Derived) -> None:
    """Raise ValueError if a config states another value than the derived one."""
    value, stated = derived.value, config.get(name)
    if None not in (value, stated) and _plain(stated) != _plain(value):
        raise ValueError(f'{name}={stated} must be {value}, {derived.source}: leave it out.')


def accepts(built: Callable, name: str) -> bool:
    """Whether a class or function takes an argument, by itself or through ``**kwargs``."""
    constructors = [built]
    if inspect.isclass(built):
        constructors = [
            vars(base)['__init__'] for base in built.__mro__ if '__init__' in vars(base)
        ]
    for constructor in constructors:
        parameters = inspect.signature(constructor).parameters.values()
        kinds = {parameter.kind for parameter in parameters if parameter.name == name}
        if kinds - {inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL}:
            return True
        if all(parameter.kind != inspect.Parameter.VAR_KEYWORD for parameter in parameters):
            return False
    return False


def _plain(value: Any) -> Any:
    """Lists as tuples, so that both spellings of a config compare equal."""
    return tuple(map(_plain, value)) if isinstance(value, list | tuple) else value

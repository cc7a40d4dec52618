"""The options of a command, which follow from the signature and the docstring of its function."""

import inspect
import os
import re
from collections.abc import Callable, Sequence
from typing import get_args, get_origin

from mmmask.command_line import add_config_options, user_path

from . import function

POSITIONAL = ('checkpoint', 'checkpoints', 'run', 'runs')


def add_options(parser, made_of: Callable) -> None:
    """Give a parser an option for each parameter of a function, in their order.

    A parameter without a default is required. Its annotation decides how words are read: a path
    may begin with ``~``, a sequence takes several words, and a bool none.
    """
    texts = read_arguments(made_of)
    for name, parameter in inspect.signature(made_of).parameters.items():
        kinds = {*_flatten(parameter.annotation)}
        if dict in kinds:
            add_config_options(parser)
            continue
        required, default = parameter.default is parameter.empty, parameter.default
        is_positional = name in POSITIONAL
        options = {} if required else dict(default=default)
        if bool in kinds:
            options['action'] = 'store_true'
        else:
            options['type'] = next((kind for kind in (int, float) if kind in kinds), str)
        if os.PathLike in kinds:
            options['type'] = user_path
        if Sequence in kinds:
            options['nargs'] = '+' if required or not is_positional else '*'
        if required and not is_positional:
            options['required'] = True
        text = texts[name].removesuffix('.').replace('%', '%%')
        if isinstance(default, str | int) and default is not False:
            text += ' (default: %(default)s)'
        flag = name if is_positional else f'--{name.replace("_", "-")}'
        parser.add_argument(flag, help=text, **options)


def read_arguments(documented: Callable) -> dict[str, str]:
    """What the section ``Args`` of a docstring says about each parameter, without markup.

    ``as in :func:`mmmask.X``` stands for what the function X of this package says.
    """
    section = inspect.getdoc(documented).partition('Args:\n')[2].partition('\n\n')[0]
    texts = {}
    for names, text in re.findall(r'^    (\w[\w, \n]*?): (.*(?:\n     .*)*)', section, re.M):
        text = ' '.join(text.split())
        other = re.fullmatch(r'as in :func:`mmmask\.(\w+)`\.', text)
        others = read_arguments(function(other[1])) if other else {}
        plain = re.sub(r':\w+:|`', '', text)
        texts |= {name: others.get(name, plain) for name in re.findall(r'\w+', names)}
    return texts


def _flatten(kind) -> list:
    """``Sequence[str | PathLike] | None`` -> its types, one by one."""
    inner = [one for part in get_args(kind) for one in _flatten(part)]
    origin = get_origin(kind)
    return [*inner, origin] if origin is Sequence else inner or [kind]

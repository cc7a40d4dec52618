"""The commands ``mmmask COMMAND``, which are also functions of the package ``mmmask``.

A command is a module of its name with a function of its name, whose parameters are the options.
Importing one needs the standard library only.
"""

from importlib import import_module

COMMANDS = (
    *('pretrain', 'embed', 'finetune', 'detect', 'segment', 'evaluate', 'visualize', 'report'),
    *('export', 'list', 'doctor'),
)


def command(name: str):
    """The module of a command."""
    return import_module(f'{__name__}.{name}')


def function(name: str):
    """The function of a command, which ``mmmask`` offers under its name."""
    return getattr(command(name), name)

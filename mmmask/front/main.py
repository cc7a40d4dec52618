"""The command ``mmmask``."""

import argparse
import sys
from collections.abc import Sequence

from mmmask import __version__
from mmmask.command_line import Parser, user_errors

from . import COMMANDS, command, function
from .options import add_options

LESSON = """
To begin, with a folder of images:
  mmmask pretrain --data images/ --out runs/a         pre-train a backbone, no labels needed
  mmmask visualize runs/a --out picture.png           see what it has learnt to predict
  mmmask embed runs/a --data images/ --out features.npy
  mmmask finetune --data flowers/ --pretrained runs/a --out runs/flowers

mmmask list shows the methods and models. mmmask COMMAND --help explains a command.
In Python, mmmask.pretrain(data='images/', out='runs/a') and so on take the same names.
"""


def make_parser(names: Sequence[str] = COMMANDS) -> argparse.ArgumentParser:
    """The parser of these commands; making that of one command imports one module."""
    parser = argparse.ArgumentParser(
        prog='mmmask',
        description='Self-supervised visual pre-training by masking.',
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=LESSON,
    )
    parser.add_argument('--version', action='version', version=f'mmmask {__version__}')
    commands = parser.add_subparsers(dest='command', metavar='COMMAND', parser_class=Parser)
    for name in names:
        module = command(name)
        text = module.__doc__.partition('.')[0]
        one = commands.add_parser(
            name,
            help=text[0].lower() + text[1:],
            description=module.__doc__,
            epilog=getattr(module, 'EXAMPLES', None),
        )
        add_options(one, function(name))
    return parser


def main(words: Sequence[str] | None = None) -> int | None:
    """Run a command line; without arguments, print the help."""
    words = sys.argv[1:] if words is None else list(words)
    chosen = words[:1] if words[:1] and words[0] in COMMANDS else COMMANDS
    parser = make_parser(chosen)
    if not words:
        parser.print_help()
        return None
    arguments = vars(parser.parse_args(words))
    name, debug = arguments.pop('command'), arguments.pop('debug')
    with user_errors(debug, f'mmmask {name}'):
        answer = function(name)(**arguments)
    return answer if name == 'doctor' else None

#!/usr/bin/env python
"""Draw what a pre-training hides, predicts and has learned; the same as ``mmmask visualize``."""

from mmmask.command_line import Parser, user_errors
from mmmask.front import command
from mmmask.front.options import add_options


def parse_arguments():
    module = command('visualize')
    parser = Parser(description=module.__doc__, epilog=module.EXAMPLES)
    add_options(parser, module.visualize)
    return parser.parse_args()


def main() -> None:
    arguments = vars(parse_arguments())
    with user_errors(arguments.pop('debug'), arguments['run']):
        command('visualize').visualize(**arguments)


if __name__ == '__main__':
    main()

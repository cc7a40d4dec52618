#!/usr/bin/env python
"""Write a report on one or several trainings as one HTML file, which needs no network.

It shows curves, speed, pictures, warnings, the environment, the config, and how to use the
checkpoint. Several runs are drawn side by side. A run may still be training.

With --pictures, also draw masks, losses and features of the last checkpoint of each run.
"""

from mmmask.command_line import Parser, user_errors
from mmmask.front.options import add_options
from mmmask.front.report import report

EXAMPLES = """
examples:
  tools/report.py work_dirs/mae --out report.html
  tools/report.py work_dirs/mae work_dirs/localmim --pictures --images FOLDER
"""


def main() -> None:
    parser = Parser(description=__doc__, epilog=EXAMPLES)
    add_options(parser, report)
    arguments = vars(parser.parse_args())
    with user_errors(arguments.pop('debug')):
        report(**arguments)


if __name__ == '__main__':
    main()

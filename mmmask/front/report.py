"""Write a report on one or several trainings as one HTML file, which needs no network."""

import os
from collections.abc import Sequence
from pathlib import Path

from mmmask.command_line import user_path

EXAMPLES = """
examples:
  mmmask report runs/a --out report.html
  mmmask report runs/a runs/b --pictures --images photographs/
"""


def add_options(parser) -> None:
    """Give a parser the options of :func:`report`."""
    parser.add_argument('runs', nargs='+', type=user_path, help='folders of trainings')
    parser.add_argument(
        '--out', type=user_path, default='report.html', help='file to write (default: %(default)s)'
    )
    parser.add_argument(
        '--pictures', action='store_true', help='draw what the last checkpoints have learned'
    )
    parser.add_argument(
        '--images',
        nargs='+',
        type=user_path,
        metavar='PATH',
        help='for --pictures: a folder, a .zip file, or image files (default: the training images)',
    )


def report(
    runs: Sequence[str | os.PathLike],
    out: str | os.PathLike = 'report.html',
    pictures: bool = False,
    images: Sequence[str | os.PathLike] | None = None,
) -> Path:
    """Write a report; see :func:`mmmask.report.write_report`."""
    from mmmask.report import write_report

    path = write_report(runs, out, pictures, images)
    print(f'The report is in {path}')
    return path

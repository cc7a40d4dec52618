"""List the packages found, what is wrong with them, and the commands that fix it."""

import subprocess
import sys

from mmmask.doctor import ROOT, main


def add_options(parser) -> None:
    """Give a parser the options of :func:`doctor`."""
    parser.add_argument(
        '--compile-operators',
        action='store_true',
        help="compile and install mmcv's operators, which detection needs, and keep them for "
        'other environments',
    )


def doctor(compile_operators: bool = False) -> int:
    """Print the report of :mod:`mmmask.doctor`; 0 if pre-training can start and 1 if not.

    Args:
        compile_operators: instead, compile mmcv's operators for the PyTorch of this environment,
            or take those that were compiled before; 0 if they are installed afterwards.
    """
    if compile_operators:
        command = [sys.executable, ROOT / 'tools' / 'setup_environment.py', 'operators']
        return subprocess.run(command, check=False).returncode
    return main()

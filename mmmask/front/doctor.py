"""List the packages found, what is wrong with them, and the commands that fix it."""

import subprocess
import sys

from mmmask.doctor import ROOT, main


def doctor(compile_operators: bool = False) -> int:
    """Print the report of :mod:`mmmask.doctor`.

    Args:
        compile_operators: instead of the report, compile and install mmcv's operators, which
            detection needs, for the PyTorch of this environment, or install those that were
            compiled before.

    Returns:
        0 if pre-training can start, or if the operators are installed; another number if not.
    """
    if compile_operators:
        command = [sys.executable, ROOT / 'tools' / 'setup_environment.py', 'operators']
        return subprocess.run(command, check=False).returncode
    return main()

#!/usr/bin/env python3
"""Set up ``.venv`` for one purpose: ``demo`` (no compiler needed) or ``test`` (everything).

The Makefile calls this again when the requirement files change. It uses the standard library only,
and installs with ``uv`` if possible, otherwise with ``pip``.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / '.venv'
PYTHON = VENV / 'bin' / 'python'
CONSTRAINTS = ROOT / 'requirements' / 'constraints.txt'
OLDEST_PYTHON = (3, 10)

DEMO = ('build', 'runtime', 'onedl', 'demo')
REQUIREMENTS = {
    'demo': DEMO,
    'test': (
        *DEMO,
        'export',
        'onnx',
        'trackers',
        'retrieval',
        'augment',
        'parquet',
        'tiff',
        'detection',
        'segmentation',
        'docs',
        'test',
    ),
}


class SetupError(RuntimeError):
    """What went wrong and how to fix it."""


def say(text: str) -> None:
    print(f'[set-up] {text}', flush=True)


def run(*command: str | os.PathLike, **kwargs) -> subprocess.CompletedProcess:
    return subprocess.run([str(part) for part in command], **kwargs)


def works(code: str) -> bool:
    """Whether a line of Python runs without error in the environment."""
    return run(PYTHON, '-c', code, capture_output=True).returncode == 0


def create_environment() -> None:
    """Create ``.venv`` with pip, unless there is a working one.

    Raises:
        SetupError: if Python is too old or has no ``venv``.
    """
    if PYTHON.exists() and works('import pip'):
        current = f'import sys; sys.exit(sys.version_info < {OLDEST_PYTHON})'
        if works(current):
            return
        raise SetupError(f'{VENV} holds a Python older than 3.10. Remedy: rm -rf {VENV}')
    say(f'creating {VENV} with Python {sys.version.split()[0]}')
    made = run(sys.executable, '-m', 'venv', '--clear', VENV, capture_output=True, text=True)
    if made.returncode and shutil.which('uv'):
        made = run('uv', 'venv', '--seed', '--clear', '--python', sys.executable, VENV)
    if made.returncode:
        raise SetupError(
            f'{sys.executable} cannot create an environment:\n{made.stdout}{made.stderr}\n'
            'Remedy on Debian or Ubuntu: apt-get install python3-venv python3-dev'
        )


def find_uv() -> Path | None:
    """The ``uv`` on PATH, or one that pip puts into the environment, or None."""
    found = shutil.which('uv')
    if found:
        return Path(found)
    if not (VENV / 'bin' / 'uv').exists():
        say('uv is not on PATH: installing it into .venv')
        run(PYTHON, '-m', 'pip', 'install', '--quiet', 'uv')
    return VENV / 'bin' / 'uv' if (VENV / 'bin' / 'uv').exists() else None


def install(uv: Path | None, *arguments: str | os.PathLike) -> None:
    """Install packages into the environment.

    Raises:
        SetupError: if that fails.
    """
    # Without this variable an installer that finds torch compiles mmcv's operators for minutes.
    environment = {**os.environ, 'MMCV_WITH_OPS': '0'}
    if uv:
        command = [uv, 'pip', 'install', '--quiet', '--python', PYTHON]
    else:
        command = [PYTHON, '-m', 'pip', 'install', '--quiet', '--disable-pip-version-check']
    if run(*command, '--constraint', CONSTRAINTS, *arguments, env=environment).returncode:
        raise SetupError(
            'the packages could not be installed; see the lines above. Remedy: check that the '
            f'package registry answers, or remove a broken environment with: rm -rf {VENV}'
        )


def requirement_files(names: tuple[str, ...]) -> list[str]:
    return [part for name in names for part in ('-r', f'{ROOT}/requirements/{name}.txt')]


def pinned(package: str) -> str:
    """The line of the constraints that pins a package, such as ``onedl-mmcv==2.3.6``."""
    return re.search(rf'^{package}==\S+', CONSTRAINTS.read_text(), re.MULTILINE).group()


def check_compiler() -> None:
    """Check for a C++ compiler and the Python header.

    Raises:
        SetupError: if one of them is missing.
    """
    header = (
        'import os, sysconfig; open(os.path.join(sysconfig.get_paths()["include"], "Python.h"))'
    )
    compiler = os.environ.get('CXX', '').split()[:1] or ['c++']
    if not (shutil.which(compiler[0]) or shutil.which('g++')):
        raise SetupError(
            'no C++ compiler found, which torch.compile needs. Remedy: apt-get install g++'
        )
    if not works(header):
        raise SetupError(
            'Python.h is missing, which torch.compile needs. Remedy: apt-get install python3-dev'
        )


def fix_opencv(uv: Path | None) -> None:
    """Install the headless build if opencv-python lacks a graphics library of the machine."""
    if not works('import cv2'):
        say('opencv-python does not import on this machine: installing its headless build over it')
        install(uv, '--force-reinstall', '--no-deps', pinned('opencv-python-headless'))


def set_up(purpose: str) -> None:
    """Install everything that a purpose needs, and check that it imports.

    Raises:
        SetupError: with the remedy, if something does not.
    """
    create_environment()
    uv = find_uv()
    say(f'installing with {"uv" if uv else "pip"}: 2 to 4 minutes if torch is downloaded')
    install(uv, *requirement_files(REQUIREMENTS[purpose]))
    install(uv, '--no-deps', '--no-build-isolation', '--editable', ROOT)
    fix_opencv(uv)
    if purpose == 'test':
        check_compiler()
    if not works('import mmpretrain.models, mmmask.registry'):
        run(PYTHON, '-m', 'mmmask.doctor')
        raise SetupError('the packages are installed but do not import; see the lines above.')


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('purpose', choices=sorted(REQUIREMENTS))
    purpose = parser.parse_args().purpose
    if sys.version_info < OLDEST_PYTHON:
        sys.exit(
            f'mmmask needs Python 3.10 or newer, and {sys.executable} is {sys.version.split()[0]}. '
            'Remedy: make PYTHON=/path/to/python3.11'
        )
    start = time.monotonic()
    try:
        set_up(purpose)
    except SetupError as error:
        sys.exit(f'[set-up] failed: {error}')
    say(f'ready for `make {purpose}` after {time.monotonic() - start:.0f} s')


if __name__ == '__main__':
    main()

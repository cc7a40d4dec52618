#!/usr/bin/env python3
"""Install the wheel into new environments, rehearse a training in each, and write a table."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / 'docs' / 'install.md'
BEGIN, END = '<!-- begin of the table of tools/install_matrix.py -->\n', '<!-- end -->\n'
CONFIG = 'configs/demo/mae_vit-tiny_digits.py'
VERSIONS = """
import platform, torch, mmengine, numpy
print(platform.python_version(), torch.__version__, numpy.__version__, mmengine.__version__)
"""
EXAMPLES = """
examples:
  python tools/install_matrix.py --python 3.10 3.13 --torch 2.11.0
  python tools/install_matrix.py --python 3.12 --torch newest --write

Each environment is made with uv and removed afterwards. It gets the wheel with the extras onedl and
demo, without a compiled operator. Then a rehearsal of a training, with one real step, runs outside
the checkout. Constraints apply to all packages but torch and torchvision.
"""


class Row(NamedTuple):
    """One line of the table: versions as found, and the first step that failed."""

    python: str
    torch: str
    numpy: str
    mmengine: str
    result: str


def run(*command: str | Path, **kwargs) -> subprocess.CompletedProcess:
    return subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, **kwargs
    )


def find_uv() -> str:
    """The uv of the environment, or of PATH."""
    beside = Path(sys.executable).with_name('uv')
    return str(beside) if beside.exists() else 'uv'


def constraints_without_torch(folder: Path) -> Path:
    """A copy of the constraints that leaves torch and torchvision free."""
    text = (ROOT / 'requirements' / 'constraints.txt').read_text()
    lines = [line for line in text.splitlines() if not line.startswith(('torch=', 'torchvision='))]
    path = folder / 'constraints.txt'
    path.write_text('\n'.join(lines))
    return path


def build_wheel(uv: str, folder: Path) -> Path:
    """The wheel of this checkout.

    Raises:
        RuntimeError: if it cannot be built.
    """
    process = run(uv, 'build', '--wheel', '--out-dir', folder, ROOT)
    wheels = sorted(folder.glob('*.whl'))
    if not wheels:
        raise RuntimeError(f'the wheel was not built:\n{process.stderr[-2000:]}')
    return wheels[0]


def try_pair(uv: str, python: str, torch: str, wheel: Path, folder: Path) -> Row:
    """Install and rehearse in a new environment."""
    environment = folder / f'python{python}-torch{torch}'
    interpreter = environment / 'bin' / 'python'
    wanted = 'torch' if torch == 'newest' else f'torch=={torch}'
    quiet = os.environ | {'MMCV_WITH_OPS': '0', 'OMP_NUM_THREADS': '1'}
    quiet.pop('PYTHONPATH', None)
    install = [uv, 'pip', 'install', '--python', interpreter]
    steps = {
        'no such Python': [uv, 'venv', '--python', python, environment],
        'not installed': [
            *install, '-c', constraints_without_torch(folder), wanted, 'torchvision',
            f'{wheel}[onedl,demo]',
        ],
        'headless OpenCV not installed': [
            *install, '--force-reinstall', '--no-deps', 'opencv-python-headless==4.11.0.86',
        ],
        'does not import': [interpreter, '-c', VERSIONS],
        'the rehearsal failed': [
            interpreter, 'TOOL', 'CONFIG', '--dry-run', '--work-dir', folder / 'run',
        ],
    }  # fmt: skip
    found = [python, torch, '-', '-']
    for failure, command in steps.items():
        if failure == 'the rehearsal failed':
            (package,) = environment.glob('lib/*/site-packages/mmmask/.mim')
            command[1:3] = [package / 'tools' / 'train.py', package / CONFIG]
        process = run(*command, cwd=folder, env=quiet)
        if process.returncode:
            print(f'{failure}:\n{process.stderr[-3000:]}', file=sys.stderr)
            return Row(*found, failure)
        if failure == 'does not import':
            found = process.stdout.split()[-4:]
    return Row(*found, 'works')


def write_table(rows: list[Row]) -> str:
    """Rows -> Markdown."""
    lines = ['| Python | torch | numpy | mmengine | import, rehearsal, one step |']
    lines.append('|---|---|---|---|---|')
    lines += [f'| {" | ".join(row)} |' for row in rows]
    return '\n'.join(lines) + '\n'


def replace_table(text: str, table: str) -> str:
    """A page with another table between its two comments."""
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return f'{before}{BEGIN}\n{table}\n{END}{after}'


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--python', nargs='+', default=['3.10', '3.11', '3.12', '3.13'])
    parser.add_argument(
        '--torch', nargs='+', default=['2.11.0', 'newest'], help='versions, or "newest"'
    )
    parser.add_argument(
        '--write', action='store_true', help=f'put the table into {PAGE.relative_to(ROOT)}'
    )
    arguments = parser.parse_args()
    uv, rows = find_uv(), []
    with tempfile.TemporaryDirectory(prefix='mmmask-matrix-') as temporary:
        folder = Path(temporary)
        wheel = build_wheel(uv, folder)
        for python in arguments.python:
            for torch in arguments.torch:
                rows.append(try_pair(uv, python, torch, wheel, folder))
                print(' '.join(rows[-1]), flush=True)
    table = write_table(rows)
    print(f'\n{table}')
    if arguments.write:
        PAGE.write_text(replace_table(PAGE.read_text(), table))
    sys.exit(any(row.result != 'works' for row in rows))


if __name__ == '__main__':
    main()

"""Imports point one way, and the rooms of PyTorch only load without OpenMMLab."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OPENMMLAB = ('mmengine', 'mmcv', 'mmpretrain', 'mmdet', 'mmseg')

IMPORT_BLOCKED = """
import importlib, pkgutil, sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in {blocked}:
            raise ModuleNotFoundError(f'{{name}} is blocked')

sys.meta_path.insert(0, Blocked())
room = importlib.import_module('{room}')
for module in pkgutil.walk_packages(getattr(room, '__path__', []), '{room}.'):
    importlib.import_module(module.name)
"""


def lint(folder: Path) -> subprocess.CompletedProcess:
    """Run import-linter on the package of a folder."""
    command = 'from importlinter.cli import lint_imports_command; lint_imports_command()'
    return subprocess.run(
        [sys.executable, '-c', command, '--no-cache', '--no-logo'],
        cwd=folder,
        env={**os.environ, 'PYTHONPATH': str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_contracts_are_kept():
    process = lint(ROOT)
    assert process.returncode == 0, process.stdout + process.stderr
    assert 'Contracts: 3 kept, 0 broken.' in process.stdout


@pytest.mark.parametrize(
    ('file', 'line', 'broken'),
    [
        ('masking/random.py', 'from mmmask.models import MAE', 'mmmask.masking is not allowed'),
        ('losses.py', 'import mmengine', 'mmmask.losses is not allowed to import mmengine'),
        ('layers/patches.py', 'import mmmask.registry', 'not allowed to import mmmask.registry'),
        ('targets/pixels.py', 'import mmmask.masking', 'mmmask.targets is not allowed'),
        ('models/heads/regression.py', 'import mmmask.apis', 'mmmask.models is not allowed'),
        ('doctor.py', 'import mmmask.losses', 'mmmask.doctor is not allowed'),
    ],
)
def test_an_import_the_wrong_way_is_found(tmp_path, file, line, broken):
    shutil.copy(ROOT / 'pyproject.toml', tmp_path)
    ignored = shutil.ignore_patterns('__pycache__')
    shutil.copytree(ROOT / 'mmmask', tmp_path / 'mmmask', ignore=ignored)
    with (tmp_path / 'mmmask' / file).open('a') as module:
        module.write(f'\n{line}\n')
    process = lint(tmp_path)
    assert process.returncode == 1, process.stderr
    assert broken in ' '.join(process.stdout.split())


@pytest.mark.parametrize('room', ['layers', 'masking', 'targets', 'losses'])
def test_a_room_of_pytorch_only_loads_without_openmmlab(room):
    code = IMPORT_BLOCKED.format(blocked=OPENMMLAB, room=f'mmmask.{room}')
    process = subprocess.run(
        [sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr


def test_the_block_works():
    code = IMPORT_BLOCKED.format(blocked=OPENMMLAB, room='mmmask.registry')
    process = subprocess.run(
        [sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert process.returncode == 1
    assert 'mmengine is blocked' in process.stderr

"""Imports have one direction, and packages of PyTorch only load without OpenMMLab."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from importlib.metadata import distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ABSENT_FROM_DEMO = re.compile(
    'timm|transformers|huggingface.hub|tokenizers|onedl.mmdetection|onedl.mmsegmentation|'
    'pycocotools|faiss.*|kornia.*|pytest.*|hypothesis'
)
OPENMMLAB = ('mmengine', 'mmcv', 'mmpretrain', 'mmdet', 'mmseg')

IMPORT_BLOCKED = """
import importlib, pkgutil, sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in {blocked}:
            raise ModuleNotFoundError(f'{{name}} is blocked')

sys.meta_path.insert(0, Blocked())
package = importlib.import_module('{package}')
for module in pkgutil.walk_packages(getattr(package, '__path__', []), '{package}.'):
    importlib.import_module(module.name)
"""

# Effects of importing other packages happen before the first comparison.
GLOBALS = """
import atexit, importlib, json, os, signal, sys, warnings
import cv2, mmpretrain.datasets, mmpretrain.evaluation, mmpretrain.models, PIL.ImageFile, torch
import matplotlib, numpy, rich.progress, safetensors.torch, torch.profiler
from mmengine.fileio.backends.registry_utils import backends, prefix_to_backends
from mmengine.runner import CheckpointLoader
from torchvision.transforms import v2

at_fork = []
os.register_at_fork = lambda **functions: at_fork.append(functions)

def process():
    return dict(
        loaders=repr(CheckpointLoader._schemes),
        backends=repr([backends, prefix_to_backends]),
        warnings=repr(warnings.filters),
        warn=repr([warnings.warn, warnings.showwarning]),
        pixels=PIL.Image.MAX_IMAGE_PIXELS,
        truncated=PIL.ImageFile.LOAD_TRUNCATED_IMAGES,
        atexit=atexit._ncallbacks(),
        at_fork=repr(at_fork),
        signals=repr([signal.getsignal(number) for number in signal.valid_signals()]),
        threads=[torch.get_num_threads(), torch.get_num_interop_threads(), cv2.getNumThreads()],
        dtype=repr([torch.get_default_dtype(), torch.get_default_device()]),
        backends_of_torch=repr([
            torch.backends.cudnn.benchmark,
            torch.backends.cuda.matmul.allow_tf32,
            torch.get_float32_matmul_precision(),
        ]),
        random=[torch.initial_seed(), numpy.random.get_state()[1].tolist()],
        numpy=repr(numpy.geterr()),
        matplotlib=matplotlib.get_backend(auto_select=False),
        environment=dict(os.environ),
        hooks=repr([sys.excepthook, sys.displayhook, sys.meta_path, sys.path_hooks]),
        path=sys.path,
        recursion=sys.getrecursionlimit(),
        method=torch.multiprocessing.get_start_method(allow_none=True),
        folder=os.getcwd(),
    )

before = process()
for name in json.loads(sys.argv[1]):
    importlib.import_module(name)
after = process()
changed = {name: [before[name], after[name]] for name in before if before[name] != after[name]}
print(json.dumps(changed))
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
        ('apis/train.py', 'import mmmask.lab', 'mmmask.apis is not allowed'),
        ('upstream.py', 'import mmmask.lab', 'mmmask.upstream is not allowed'),
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


def test_an_import_changes_nothing_in_the_process():
    """Calls set loaders, file backends, filters, handlers and limits when a run starts."""
    files = [path.relative_to(ROOT).with_suffix('') for path in (ROOT / 'mmmask').rglob('*.py')]
    names = sorted('.'.join(file.parts).removesuffix('.__init__') for file in files)
    assert 'mmmask.checkpoints.loading' in names
    process = subprocess.run(
        [sys.executable, '-c', GLOBALS, json.dumps(names)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert json.loads(process.stdout.splitlines()[-1]) == {}


@pytest.mark.parametrize('package', ['layers', 'masking', 'targets', 'losses'])
def test_a_package_of_pytorch_only_loads_without_openmmlab(package):
    code = IMPORT_BLOCKED.format(blocked=OPENMMLAB, package=f'mmmask.{package}')
    process = subprocess.run(
        [sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr


@pytest.fixture(scope='module')
def demo_packages(tmp_path_factory):
    """The installed packages without those that `make demo` omits, such as mmdet."""
    installed = Path(sysconfig.get_path('purelib'))
    absent = {'__editable__', '__pycache__', '_virtualenv.pth'}
    for distribution in distributions(path=[str(installed)]):
        if ABSENT_FROM_DEMO.fullmatch(distribution.name):
            absent |= {Path(file).parts[0] for file in distribution.files}
    folder = tmp_path_factory.mktemp('demo')
    for entry in installed.iterdir():
        if entry.name not in absent and not entry.name.startswith('__editable__'):
            (folder / entry.name).symlink_to(entry)
    return folder


def test_everything_loads_with_the_packages_of_the_demo(demo_packages):
    code = IMPORT_BLOCKED.format(blocked=('nothing',), package='mmmask')
    process = subprocess.run(
        # -S leaves out the packages of this interpreter.
        [
            *(sys.executable, '-S', '-W', 'error:Fail to import ``MultiScale'),
            *('-c', f'{code}\nassert "mmdet" not in sys.modules'),
        ],
        cwd=ROOT,
        env={**os.environ, 'PYTHONPATH': os.pathsep.join([str(ROOT), str(demo_packages)])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr


def test_the_packages_of_the_demo_are_what_the_test_says(demo_packages):
    code = (
        'from importlib.util import find_spec as find\n'
        "assert all(map(find, ('torch', 'mmpretrain', 'mmcv', 'mlxtend', 'skimage')))\n"
        "assert not any(map(find, ('mmdet', 'mmseg', 'timm', 'transformers')))"
    )
    environment = {**os.environ, 'PYTHONPATH': str(demo_packages)}
    command = [sys.executable, '-S', '-c', code]
    process = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr


def test_the_block_works():
    code = IMPORT_BLOCKED.format(blocked=OPENMMLAB, package='mmmask.registry')
    process = subprocess.run(
        [sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert process.returncode == 1
    assert 'mmengine is blocked' in process.stderr

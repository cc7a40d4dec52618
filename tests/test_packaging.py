"""The wheel contains configs and tools, and neither OpenMMLab family is a hard requirement."""

import ast
import inspect
import re
import runpy
import shutil
import subprocess
import sys
import zipfile
from email import message_from_bytes
from importlib.metadata import packages_distributions, version
from importlib.util import find_spec
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import mmmask
from mmmask.doctor import tool
from mmmask.front.recipes import METHODS, MODELS

ROOT = Path(__file__).resolve().parent.parent
SOURCES = (
    'setup.py',
    'pyproject.toml',
    'MANIFEST.in',
    'README.md',
    'LICENSE',
    'CHANGELOG.md',
    'model-index.yml',
)
FOLDERS = ('mmmask', 'configs', 'tools', 'requirements', 'demo')
EXTRAS = set(re.findall(r"^        '(\w+)',$", (ROOT / 'setup.py').read_text(), re.MULTILINE))
OPENMMLAB = re.compile(r'(onedl-)?mm(engine|cv|pretrain|det|detection|seg|segmentation)\b')


def build(kind: str, folder: Path) -> Path:
    """Build a wheel or a source archive from a copy, without build isolation or network."""
    source = folder / 'source'
    source.mkdir()
    for name in SOURCES:
        shutil.copy(ROOT / name, source)
    for name in FOLDERS:
        ignored = shutil.ignore_patterns('__pycache__')
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    code = f'from setuptools import build_meta; build_meta.build_{kind}({str(folder)!r})'
    process = subprocess.run(
        [sys.executable, '-c', code], cwd=source, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    (built,) = folder.glob('mmmask-*.*')
    return built


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    with zipfile.ZipFile(build('wheel', tmp_path_factory.mktemp('wheel'))) as archive:
        yield archive


@pytest.fixture(scope='module')
def metadata(wheel):
    (name,) = [name for name in wheel.namelist() if name.endswith('.dist-info/METADATA')]
    return message_from_bytes(wheel.read(name))


def test_every_config_and_tool_is_in_the_wheel(wheel):
    patterns = (
        'configs/**/*.py',
        'configs/*/metafile.yml',
        'model-index.yml',
        'tools/*.py',
        'tools/*.sh',
        'requirements/constraints.txt',
        'demo/*.zip',
    )
    expected = {path.relative_to(ROOT) for pattern in patterns for path in ROOT.glob(pattern)}
    inside = {name for name in wheel.namelist() if name.startswith('mmmask/.mim/')}
    assert inside == {f'mmmask/.mim/{path.as_posix()}' for path in expected}
    assert 'mmmask/.mim/tools/dist_train.sh' in inside
    assert 'mmmask/.mim/configs/demo/localmim_vit-tiny_digits.py' in inside


def test_files_are_copied_as_they_are(wheel):
    for name in ('configs/demo/localmim_vit-tiny_digits.py', 'tools/train.py'):
        assert wheel.read(f'mmmask/.mim/{name}') == (ROOT / name).read_bytes()
    mode = wheel.getinfo('mmmask/.mim/tools/dist_train.sh').external_attr >> 16
    assert mode & 0o111 == 0o111


def test_every_module_and_nothing_else_is_in_the_wheel(wheel):
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / 'mmmask').rglob('*.py')}
    modules = {name for name in modules if '/.mim/' not in name}
    others = {name for name in wheel.namelist() if not re.search(r'\.mim/|\.dist-info/', name)}
    assert others == modules | {'mmmask/py.typed'}


def test_the_command_is_installed(wheel):
    (name,) = [name for name in wheel.namelist() if name.endswith('.dist-info/entry_points.txt')]
    assert 'mmmask = mmmask.front.main:main' in wheel.read(name).decode().splitlines()


def test_a_config_of_the_wheel_loads_in_place(wheel, tmp_path):
    from mmengine.config import Config

    wheel.extractall(tmp_path)
    name = 'demo/localmim_vit-tiny_digits.py'
    inside = Config.fromfile(tmp_path / 'mmmask' / '.mim' / 'configs' / name)
    assert inside.to_dict() == Config.fromfile(ROOT / 'configs' / name).to_dict()


def answer(folder: Path, *words: str) -> str:
    """The output of Python with a folder, and nothing else that is installed, to import from."""
    ended = subprocess.run(
        [sys.executable, '-S', *words],
        cwd=folder, env=dict(PYTHONPATH=str(folder)), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_the_command_answers_from_the_wheel(wheel, tmp_path):
    """Neither the clone nor any package is there: the list and the help need none."""
    wheel.extractall(tmp_path)
    place = Path(answer(tmp_path, '-c', 'import mmmask; print(mmmask.__file__)').strip())
    assert place == tmp_path / 'mmmask' / '__init__.py'
    methods, models = answer(tmp_path, '-m', 'mmmask', 'list').split('\nmodels\n')
    assert [line.split()[0] for line in methods.splitlines()[1:]] == [*METHODS]
    assert [line.split()[0] for line in models.splitlines()] == [*MODELS]
    text = answer(tmp_path, '-m', 'mmmask', 'pretrain', '--help')
    parameters = inspect.signature(mmmask.pretrain).parameters
    options = {f'--{name.replace("_", "-")}' for name in parameters} | {'--help', '--debug'}
    assert set(re.findall(r'^  (?:-h, )?(--[\w-]+)', text, re.MULTILINE)) == options


def test_messages_name_the_tools_where_they_are(wheel, tmp_path):
    wheel.extractall(tmp_path)
    doctor = runpy.run_path(str(tmp_path / 'mmmask' / 'doctor.py'))
    assert Path(doctor['tool']('convert.py')).samefile(
        tmp_path / 'mmmask' / '.mim' / 'tools' / 'convert.py'
    )
    assert tool('convert.py') == 'tools/convert.py'  # of a clone
    for path in set(ROOT.glob('mmmask/**/*.py')) - set(ROOT.glob('mmmask/lab/**/*.py')):
        nodes = list(ast.walk(ast.parse(path.read_text())))
        docstrings = {node.value for node in nodes if isinstance(node, ast.Expr)}
        texts = [
            node for node in nodes if isinstance(node, ast.Constant) and type(node.value) is str
        ]
        messages = [node.value for node in texts if node not in docstrings]
        assert [one for one in messages if re.search(r'tools/\w+\.(py|sh)', one)] == [], path


def test_neither_family_is_a_hard_requirement(metadata):
    needs = metadata.get_all('Requires-Dist')
    hard = [need for need in needs if 'extra ==' not in need]
    assert [need for need in hard if OPENMMLAB.match(need)] == []
    assert {re.match(r'[\w-]+', need).group() for need in hard} == {
        'numpy',
        'pillow',
        'rich',
        'safetensors',
        'simplejpeg',
        'torch',
        'torchvision',
    }


@pytest.mark.parametrize(
    ('extra', 'names'),
    [
        ('onedl', {'onedl-mmcv', 'onedl-mmengine', 'onedl-mmpretrain'}),
        ('openmmlab', {'mmcv', 'mmengine', 'mmpretrain'}),
        ('detection', {'onedl-mmdetection'}),
        ('segmentation', {'onedl-mmsegmentation'}),
        ('export', {'timm', 'transformers'}),
        ('onnx', {'onnx', 'onnxruntime', 'onnxscript'}),
        ('trackers', {'tensorboard', 'wandb', 'mlflow-skinny'}),
        ('retrieval', {'faiss-cpu'}),
        ('parquet', {'pyarrow'}),
    ],
)
def test_what_an_extra_installs(metadata, extra, names):
    needs = [need for need in metadata.get_all('Requires-Dist') if f'"{extra}"' in need]
    assert {re.match(r'[\w-]+', need).group() for need in needs} == names


@pytest.mark.parametrize('extra', sorted(EXTRAS - {'openmmlab', 'dev'}))
def test_what_an_extra_promises_is_installed_in_an_allowed_version(metadata, extra):
    """`openmmlab` would overwrite `onedl`, and `dev` is not set up for tests."""
    found = packages_distributions()
    for need in map(Requirement, metadata.get_all('Requires-Dist')):
        if need.marker is None or not need.marker.evaluate(dict(extra=extra)):
            continue
        if need.marker.evaluate(dict(extra='')):
            continue
        assert need.specifier.contains(version(need.name), prereleases=True), need
        names = [
            name
            for name, distributions in found.items()
            if need.name in map(canonicalize_name, distributions) and name.isidentifier()
        ]
        public = [name for name in names if not name.startswith('_') and find_spec(name)]
        assert public, need


def test_metadata(metadata):
    assert metadata['Name'] == 'mmmask'
    assert metadata['Version'] == mmmask.__version__
    assert metadata['License-Expression'] == 'Apache-2.0'
    assert metadata['Requires-Python'] == '>=3.10'
    readme = metadata.get_payload(decode=True).decode()
    assert readme.strip() == (ROOT / 'README.md').read_text().strip()


def test_the_citation_has_the_version():
    (version,) = re.findall(r'^version: (.+)$', (ROOT / 'CITATION.cff').read_text(), re.MULTILINE)
    assert version == mmmask.__version__


def test_a_wheel_can_be_built_from_the_source_archive(wheel, tmp_path):
    """The archive contains everything that setup.py reads, so the wheel has the same files."""
    archive = build('sdist', tmp_path)
    shutil.unpack_archive(archive, tmp_path / 'unpacked')
    (source,) = (tmp_path / 'unpacked').iterdir()
    code = f'from setuptools import build_meta; build_meta.build_wheel({str(tmp_path)!r})'
    subprocess.run([sys.executable, '-c', code], cwd=source, capture_output=True, check=True)
    (again,) = tmp_path.glob('*.whl')
    with zipfile.ZipFile(again) as built:
        assert sorted(built.namelist()) == sorted(wheel.namelist())

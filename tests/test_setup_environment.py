"""The set-up that `make` runs: complete wheels with compiled ops are cached, no others."""

import ctypes
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / 'tools'))
import setup_environment  # noqa: E402

SETUP = """
from setuptools import Extension, setup
import time, sys, os
time.sleep(float(os.environ.get('TINY_SLEEP', 0)))
setup(name='tiny', version='1.0', py_modules=[], ext_modules={extensions})
"""
EXTENSION = "[Extension('tiny', ['tiny.c'])]"
SOURCE = """
#include <Python.h>
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "tiny", 0, -1, 0};
PyMODINIT_FUNC PyInit_tiny(void) { return PyModule_Create(&module); }
"""

FAKE_SET_UP = f"""
import pathlib, sys
print('set up', sys.argv[1])
python = pathlib.Path('.venv/bin/python')
python.parent.mkdir(parents=True, exist_ok=True)
python.unlink(missing_ok=True)
python.symlink_to({sys.executable!r})
"""


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """Return a function that creates the package ``tiny==1.0`` to compile, with its own cache."""
    monkeypatch.setattr(setup_environment, 'PYTHON', Path(sys.executable))
    # The real probe imports torch, which takes seconds.
    monkeypatch.setattr(setup_environment, 'PROBE', 'print("key_cpu")')
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    monkeypatch.setenv('PIP_NO_INDEX', '1')
    monkeypatch.setenv('PIP_FIND_LINKS', str(tmp_path / 'links'))

    def make(extensions=EXTENSION, source=SOURCE):
        folder = tmp_path / 'tiny'
        folder.mkdir()
        (folder / 'setup.py').write_text(SETUP.format(extensions=extensions))
        (folder / 'tiny.c').write_text(source)
        (folder / 'MANIFEST.in').write_text('include tiny.c')
        code = f'from setuptools import build_meta; build_meta.build_sdist({str(tmp_path)!r})'
        subprocess.run([sys.executable, '-c', code], cwd=folder, capture_output=True, check=True)
        (tmp_path / 'links').mkdir()
        (tmp_path / 'tiny-1.0.tar.gz').rename(tmp_path / 'links' / 'tiny-1.0.tar.gz')
        return tmp_path / 'cache' / 'mmmask' / 'wheels'

    return make


def test_a_wheel_is_compiled_once(tiny, capsys, monkeypatch):
    cache = tiny()
    wheel = setup_environment.compiled_wheel('tiny==1.0')
    assert wheel.parent == setup_environment.cache_folder('tiny==1.0')
    assert 'compiling tiny==1.0 once' in capsys.readouterr().out
    assert [name for name in zipfile.ZipFile(wheel).namelist() if name.endswith('.so')]
    assert sorted(path.name for path in cache.iterdir()) == [
        wheel.parent.name,
        f'{wheel.parent.name}.log',
    ]

    def compile_again(*arguments, **kwargs):
        raise AssertionError('compiled twice')

    monkeypatch.setattr(setup_environment, 'compile_wheel', compile_again)
    assert setup_environment.compiled_wheel('tiny==1.0') == wheel
    assert 'using the compiled tiny-1.0' in capsys.readouterr().out


def test_the_key_names_what_a_compiled_wheel_depends_on(monkeypatch):
    monkeypatch.setattr(setup_environment, 'PYTHON', Path(sys.executable))

    name = setup_environment.cache_folder('tiny==1.0').name
    package, torch_version, python, platform, device = name.split('_', 3) + [name.split('_')[-1]]
    assert package == 'tiny-1.0'
    assert torch_version == f'torch-{torch.__version__}'
    assert python == sys.implementation.cache_tag
    assert platform.startswith('linux-')
    assert device.startswith('cuda' if torch.cuda.is_available() else 'cpu')


def test_a_wheel_without_ops_is_not_kept(tiny):
    cache = tiny(extensions='[]')
    with pytest.raises(setup_environment.SetupError, match='built without compiled ops'):
        setup_environment.compiled_wheel('tiny==1.0')
    assert [path.suffix for path in cache.iterdir()] == ['.log']


def test_the_message_of_the_compiler_is_shown(tiny):
    cache = tiny(source='#error "no such luck"')
    with pytest.raises(setup_environment.SetupError, match='no such luck'):
        setup_environment.compiled_wheel('tiny==1.0')
    assert [path.suffix for path in cache.iterdir()] == ['.log']


def test_an_interrupted_compile_leaves_nothing(tiny, monkeypatch):
    cache = tiny()
    monkeypatch.setenv('TINY_SLEEP', '60')

    def interrupt(process, timeout=None):
        if process.returncode is None and timeout:
            raise KeyboardInterrupt
        return original(process, timeout)

    original = subprocess.Popen.wait
    monkeypatch.setattr(subprocess.Popen, 'wait', interrupt)
    with pytest.raises(KeyboardInterrupt):
        setup_environment.compiled_wheel('tiny==1.0')
    assert [path.suffix for path in cache.iterdir()] == ['.log']


def test_merged_sources_define_the_same_functions(tmp_path):
    # The macro of the third file would change the others.
    for name, line in (('a', ''), ('b', 'int b_2() { return 2; }'), ('other', '#define a b')):
        code = f'extern "C" {{\n{line}\nint {name}_1() {{ return 1; }}\n}}\n'
        (tmp_path / f'{name}.cpp').write_text(code)
    setup_environment.merge_sources(tmp_path, ('other.cpp',))
    sources = sorted(tmp_path.glob('*.cpp'))
    assert [path.name for path in sources] == ['merged.cpp', 'other.cpp']
    library = tmp_path / 'library.so'
    subprocess.run(['c++', '-shared', '-fPIC', '-o', library, *sources], check=True)
    functions = ctypes.CDLL(str(library))
    assert [functions.a_1(), functions.b_1(), functions.b_2(), functions.other_1()] == [1, 1, 2, 1]


def test_pytorch_chooses_the_standard(tmp_path):
    setup = tmp_path / 'setup.py'
    setup.write_text("a = ['-std=c++17']\nb = ['-Wall', '-std=c++14']\nc = '-std'\n")
    setup_environment.leave_standard_to_torch(setup)
    assert setup.read_text() == "a = []\nb = ['-Wall']\nc = '-std'\n"


def test_only_mmcv_has_sources_to_merge(tiny, tmp_path):
    tiny()
    folder = tmp_path / 'build'
    folder.mkdir()
    assert setup_environment.merged_source('tiny==1.0', folder, ['--no-deps']) == 'tiny==1.0'


def test_missing_compiler(monkeypatch):
    monkeypatch.setattr(setup_environment.shutil, 'which', lambda name: None)
    with pytest.raises(setup_environment.SetupError, match=r'Remedy: apt-get install g\+\+'):
        setup_environment.check_compiler()


def test_missing_header(monkeypatch):
    monkeypatch.setattr(setup_environment.shutil, 'which', lambda name: '/usr/bin/c++')
    monkeypatch.setattr(setup_environment, 'works', lambda code: False)
    with pytest.raises(setup_environment.SetupError, match='apt-get install python3-dev'):
        setup_environment.check_compiler()


@pytest.mark.parametrize(
    ('log', 'said'),
    [
        ('', 'preparing'),
        ('x\n  [1/78] c++ -c\n', '1 of 78 files compiled'),
        ('[1/78] c++\n[2/78] c++ [3/4]\n', '2 of 78 files compiled'),
    ],
)
def test_progress(tmp_path, log, said):
    (tmp_path / 'log').write_text(log)
    assert setup_environment.files_compiled(tmp_path / 'log') == said


def test_the_pin_comes_from_the_constraints():
    assert setup_environment.pinned('onedl-mmcv') == 'onedl-mmcv==2.3.6'
    assert setup_environment.pinned('opencv-python') == 'opencv-python==4.11.0.86'


def test_every_requirement_file_is_there():
    for names in (setup_environment.FIRST, *setup_environment.THEN.values()):
        assert all(
            Path(file).is_file() for file in setup_environment.requirement_files(names)[1::2]
        )


@pytest.fixture
def checkout(tmp_path):
    """Return a function that runs make in a small checkout whose set-up only prints a line."""
    (tmp_path / 'tools').mkdir()
    (tmp_path / 'requirements').mkdir()
    (tmp_path / 'requirements' / 'demo.txt').write_text('numpy\n')
    (tmp_path / 'setup.py').touch()
    (tmp_path / 'Makefile').write_text((ROOT / 'Makefile').read_text())
    (tmp_path / 'tools' / 'setup_environment.py').write_text(FAKE_SET_UP)
    (tmp_path / 'tools' / 'demo.py').write_text("import sys\nprint('demo', sys.argv[1:])\n")

    def make(*arguments):
        environment = {key: value for key, value in os.environ.items() if 'MAKE' not in key}
        process = subprocess.run(
            ['make', '--no-print-directory', *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert process.returncode == 0, process.stderr
        return process.stdout.splitlines()

    make.folder = tmp_path
    return make


def test_set_up_is_not_repeated(checkout):
    assert checkout('demo') == ['set up demo', 'demo []']
    assert checkout('demo') == ['demo []']
    assert checkout('demo', 'DATA=/my images') == ["demo ['--data', '/my images']"]


def test_changed_requirements_repeat_the_set_up(checkout):
    checkout('demo')
    (checkout.folder / 'requirements' / 'demo.txt').write_text('numpy\nscipy\n')
    assert checkout('demo') == ['set up demo', 'demo []']
    stamps = [path.name for path in (checkout.folder / '.venv').glob('.demo-*')]
    assert len(stamps) == 1


def test_the_set_up_for_tests_also_serves_the_demo(checkout):
    checkout('demo')
    stamps = [line for line in checkout('-n', 'lint') if 'setup_environment' in line]
    assert stamps == ['python3 tools/setup_environment.py test']
    (key,) = [path.name[6:] for path in (checkout.folder / '.venv').glob('.demo-*')]
    assert checkout(f'.venv/.test-{key}') == ['set up test']
    assert not list((checkout.folder / '.venv').glob('.demo-*'))
    assert checkout('demo') == ['demo []']


def test_help_names_every_target(checkout):
    text = '\n'.join(checkout('help'))
    for target in ('demo', 'test', 'lint', 'format', 'docs', 'docs-check', 'doctor', 'clean'):
        assert f'  {target} ' in text


def test_the_compiled_ops_compute():
    """In non-maximum suppression, the second box has an IoU of 81/119 with the first.

    The third box overlaps neither.
    """
    pytest.importorskip('mmcv._ext', reason='mmcv has no compiled ops: `make test` installs them')
    from mmcv.ops import nms

    boxes = torch.tensor([[0.0, 0, 10, 10], [1, 1, 11, 11], [20, 20, 30, 30]])
    scores = torch.tensor([0.9, 0.8, 0.7])
    assert nms(boxes, scores, iou_threshold=0.68)[1].tolist() == [0, 2]
    assert nms(boxes, scores, iou_threshold=0.69)[1].tolist() == [0, 1, 2]

"""The set-up that `make` runs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / 'tools'))
import setup_environment  # noqa: E402

FAKE_SET_UP = f"""
import pathlib, sys
print('set up', sys.argv[1])
python = pathlib.Path('.venv/bin/python')
python.parent.mkdir(parents=True, exist_ok=True)
python.unlink(missing_ok=True)
python.symlink_to({sys.executable!r})
"""


def test_missing_compiler(monkeypatch):
    monkeypatch.setattr(setup_environment.shutil, 'which', lambda name: None)
    with pytest.raises(setup_environment.SetupError, match=r'Remedy: apt-get install g\+\+'):
        setup_environment.check_compiler()


def test_missing_header(monkeypatch):
    monkeypatch.setattr(setup_environment.shutil, 'which', lambda name: '/usr/bin/c++')
    monkeypatch.setattr(setup_environment, 'works', lambda code: False)
    with pytest.raises(setup_environment.SetupError, match='apt-get install python3-dev'):
        setup_environment.check_compiler()


def test_the_pin_comes_from_the_constraints():
    assert setup_environment.pinned('opencv-python') == 'opencv-python==4.11.0.86'


def test_every_requirement_file_is_there():
    for names in setup_environment.REQUIREMENTS.values():
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

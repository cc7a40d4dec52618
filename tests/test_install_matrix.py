"""The tables of environments: versions as found, the first step that fails, and their places."""

import re
import subprocess
import sys

import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / 'tools'))
import install_matrix  # noqa: E402

VALUES = dict(uv='uv', wheel='w.whl')


@pytest.fixture
def attempt(tmp_path, monkeypatch):
    """Return a function that makes a line of a table; a command with a certain word fails."""
    folders = []

    def call(function, *what, failing=None, writing=True):
        commands = []

        def run(*command, cwd, env):
            commands.append(' '.join(command))
            folders.append(cwd)
            assert env['MMCV_WITH_OPS'] == ('1' if 'openmmlab' in what else '0')
            assert 'PYTHONPATH' not in env
            if 'venv' in command:
                package = 'environment/lib/python3.12/site-packages/mmmask/.mim'
                (cwd / package).mkdir(parents=True)
            for step in steps_that_write() if writing else []:
                (cwd / step.writes).parent.mkdir(parents=True, exist_ok=True)
                (cwd / step.writes).touch()
            fails = failing is not None and failing in command
            versions = '3.12.1 2.11.0+cpu 2.4.6 0.10.12'
            return subprocess.CompletedProcess(command, int(fails), versions, 'a message')

        monkeypatch.setenv('PYTHONPATH', str(ROOT))
        monkeypatch.setattr(install_matrix, 'run', run)
        row = function(VALUES, *what)
        assert not (folders[-1] / 'environment').exists()
        return row, commands

    return call


def steps_that_write():
    everything = [*install_matrix.PAIR, *install_matrix.EXTRAS.values()]
    return [step for step in everything if step.writes]


def test_every_step_runs_outside_the_checkout_with_the_tools_of_the_wheel(attempt):
    row, commands = attempt(install_matrix.try_pair, '3.12', '2.11.0')
    assert row == {
        'Python': '3.12.1',
        'torch': '2.11.0+cpu',
        'numpy': '2.4.6',
        'mmengine': '0.10.12',
        'installs': 'yes',
        'rehearsal': 'yes',
        'command pre-trains': 'yes',
        'detector trains': 'yes',
    }
    assert commands[0] == 'uv venv --python 3.12 environment'
    assert 'torch==2.11.0 torchvision' in commands[1] and commands[1].endswith('w.whl[onedl,demo]')
    assert '/mmmask/.mim/tools/train.py' in commands[4] and '--dry-run' in commands[4]
    assert '/mmmask/.mim/configs/demo/' in commands[4] and str(ROOT) not in commands[4]
    names = [command.split()[1] for command in commands if 'bin/mmmask' in command]
    assert names == ['list', 'pretrain', 'detect']
    assert commands[-2].endswith('w.whl[onedl,detection]')
    assert '--pretrained runs/a ' in commands[-1] and '--out runs/a' in commands[-3]


def test_the_newest_torch_is_the_one_that_uv_finds(attempt):
    _, commands = attempt(install_matrix.try_pair, '3.13', 'newest')
    assert ' torch torchvision ' in commands[1]
    row, _ = attempt(install_matrix.try_pair, '3.13', 'newest', failing='venv')
    assert list(row.values())[:4] == ['3.13', 'newest', '-', '-']


@pytest.mark.parametrize(
    ('word', 'results'),
    [
        ('venv', ['no: no such Python', '-', '-', '-']),
        ('w.whl[onedl,demo]', ['no: not installed', '-', '-', '-']),
        (install_matrix.VERSIONS, ['no: does not import', '-', '-', '-']),
        ('--dry-run', ['yes', 'no: tools/train.py failed', '-', '-']),
        ('list', ['yes', 'yes', 'no: mmmask list failed', '-']),
        ('pretrain', ['yes', 'yes', 'no: mmmask pretrain failed', '-']),
        ('w.whl[onedl,detection]', ['yes', 'yes', 'yes', 'no: mmdet not installed']),
        ('detect', ['yes', 'yes', 'yes', 'no: mmmask detect failed']),
    ],
)
def test_the_first_failure_is_named(attempt, word, results, capsys):
    row, _ = attempt(install_matrix.try_pair, '3.12', '2.11.0', failing=word)
    assert list(row.values())[4:] == results
    assert 'a message' in capsys.readouterr().err


def test_a_step_that_writes_nothing_has_failed(attempt):
    row, _ = attempt(install_matrix.try_pair, '3.12', '2.11.0', writing=False)
    assert row['command pre-trains'] == 'no: no images' and row['detector trains'] == '-'


def test_an_environment_is_removed_when_a_step_is_interrupted(tmp_path, monkeypatch):
    def run(*command, cwd, env):
        (cwd / 'environment').mkdir()
        raise KeyboardInterrupt

    monkeypatch.setattr(install_matrix, 'run', run)
    with pytest.raises(KeyboardInterrupt):
        install_matrix.try_extra(VALUES, '3.12', 'onnx', tmp_path)
    assert not (tmp_path / 'environment').exists()


def test_a_command_that_is_not_there_fails():
    process = install_matrix.run('no-such-command')
    assert process.returncode == 127 and 'no-such-command' in process.stderr


def test_every_extra_is_tried():
    names = re.findall(r"^        '(\w+)',$", (ROOT / 'setup.py').read_text(), re.MULTILINE)
    assert list(install_matrix.EXTRAS) == names


@pytest.mark.parametrize(
    ('name', 'installed', 'torch'),
    [
        ('onnx', 'onedl,onnx', '2.11.0'),
        ('onedl', 'onedl', '2.11.0'),
        ('openmmlab',) * 2 + ('2.5.1',),
    ],
)
def test_an_extra_is_installed_beside_one_family_only(attempt, tmp_path, name, installed, torch):
    row, commands = attempt(install_matrix.try_extra, '3.12', name, tmp_path)
    extra = install_matrix.EXTRAS[name]
    assert commands[1].endswith(f'torch=={torch} torchvision w.whl[{installed}]')
    assert commands[4] == f'environment/bin/python -c import {extra.modules}'
    assert commands[-1].split()[1] == ('export' if name == 'onnx' else 'pretrain')
    assert row == {
        'extra': f'`{name}`',
        'Python': '3.12.1',
        'torch': '2.11.0+cpu',
        'installs': 'yes',
        'imports': extra.modules,
        'starts': extra.starts,
    }


def test_the_failure_of_an_extra_is_named(attempt, tmp_path):
    failing = 'import onnx, onnxruntime, onnxscript'
    row, _ = attempt(install_matrix.try_extra, '3.12', 'onnx', tmp_path, failing=failing)
    assert row['imports'] == 'no: onnx, onnxruntime, onnxscript' and row['starts'] == '-'
    row, _ = attempt(install_matrix.try_extra, '3.12', 'onnx', tmp_path, failing='export')
    assert row['starts'] == 'no: `mmmask export --to onnx`'


def test_constraints_leave_torch_free(tmp_path):
    text = install_matrix.constraints_without_torch(tmp_path).read_text()
    assert 'numpy==' in text and 'torch==' not in text and 'torchvision==' not in text


@pytest.mark.parametrize('name', ['versions', 'extras'])
def test_a_table_replaces_the_one_of_the_page(name):
    page = (ROOT / 'docs/install.md').read_text()
    table = install_matrix.write_table([{'Python': '3.9', 'installs': 'no: not installed'}])
    assert table == '| Python | installs |\n|---|---|\n| 3.9 | no: not installed |\n'
    changed = install_matrix.replace_table(page, name, table)
    begin = changed.index(install_matrix.BEGIN.format(name))
    end = changed.index(install_matrix.END.format(name))
    assert changed[begin:end].split('\n', 1)[1].strip() == table.strip()
    assert install_matrix.replace_table(changed, name, table) == changed

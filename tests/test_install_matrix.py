"""The table of environments: versions as found, the first step that fails, and its place."""

import subprocess
import sys

import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / 'tools'))
import install_matrix  # noqa: E402


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """Return a function that tries a pair where a command with a certain word fails."""
    (tmp_path / 'python3.12-torch2.11.0/lib/python3.12/site-packages/mmmask/.mim').mkdir(
        parents=True
    )

    def try_pair(failing=None):
        commands = []

        def run(*command, **kwargs):
            commands.append([str(word) for word in command])
            fails = failing is not None and failing in commands[-1]
            versions = '3.12.1 2.11.0+cpu 2.4.6 0.10.12'
            return subprocess.CompletedProcess(command, int(fails), versions, 'a message')

        monkeypatch.setattr(install_matrix, 'run', run)
        row = install_matrix.try_pair('uv', '3.12', '2.11.0', tmp_path / 'w.whl', tmp_path)
        return row, commands

    return try_pair


def test_every_step_runs_outside_the_checkout_with_the_tools_of_the_wheel(environment):
    row, commands = environment()
    assert row == ('3.12.1', '2.11.0+cpu', '2.4.6', '0.10.12', 'works')
    assert 'torch==2.11.0' in commands[1] and commands[1][-1].endswith('w.whl[onedl,demo]')
    assert '/mmmask/.mim/tools/train.py' in commands[-1][1] and '--dry-run' in commands[-1]
    assert '/mmmask/.mim/configs/demo/' in commands[-1][2]


@pytest.mark.parametrize(
    ('word', 'result'),
    [
        ('venv', 'no such Python'),
        ('torchvision', 'not installed'),
        ('-c', 'not installed'),
        ('--dry-run', 'the rehearsal failed'),
    ],
)
def test_the_first_failure_is_named(environment, word, result, capsys):
    row, _ = environment(word)
    assert row.result == result
    assert 'a message' in capsys.readouterr().err


def test_constraints_leave_torch_free(tmp_path):
    text = install_matrix.constraints_without_torch(tmp_path).read_text()
    assert 'numpy==' in text and 'torch==' not in text and 'torchvision==' not in text


def test_the_table_replaces_the_one_of_the_page():
    page = (ROOT / 'docs/install.md').read_text()
    table = install_matrix.write_table([install_matrix.Row('3.9', '1', '2', '3', 'not installed')])
    changed = install_matrix.replace_table(page, table)
    assert '| 3.9 | 1 | 2 | 3 | not installed |' in changed
    lines = [line for line in changed.splitlines() if line.startswith('| 3.')]
    assert len(lines) == 1
    assert install_matrix.replace_table(changed, table) == changed

"""The checks for a GPU, with a program in place of Python that writes down how it is called."""

import os
import re
import shutil
import subprocess

import pytest
from conftest import ROOT

SCRIPT = ROOT / 'tools' / 'gpu_check.sh'
# Fails where its arguments contain $FAILING; gives the short programs of the script no input.
STUB = """#!/usr/bin/env bash
[[ ${1:-} == - || ${1:-} == -c ]] && exit
echo "$*" >> calls
[[ -z ${FAILING:-} || "$*" != *"$FAILING"* ]]
"""


@pytest.fixture
def check(tmp_path):
    (tmp_path / 'tools').mkdir()
    shutil.copy(SCRIPT, tmp_path / 'tools')
    stub = tmp_path / 'python'
    stub.write_text(STUB)
    stub.chmod(0o755)

    def check(*arguments, failing=''):
        (tmp_path / 'calls').write_text('')
        environment = os.environ | dict(PYTHON=str(stub), FAILING=failing)
        command = ['bash', str(tmp_path / 'tools' / 'gpu_check.sh'), *arguments]
        process = subprocess.run(command, env=environment, capture_output=True, text=True)
        return process.returncode, (tmp_path / 'calls').read_text().splitlines()

    return check


def test_steps_that_succeeded_are_not_repeated(check):
    status, calls = check(failing='/ehm_')
    assert status == 1
    assert len(calls) == 3 + len(names_of_configs())  # tests, methods, data, training
    status, calls = check()
    assert status == 0
    (call,) = calls
    assert '/ehm_vit-base' in call
    assert '--compile' in call and '--vs-mmpretrain-mae --amp bf16' in call
    assert check() == (0, [])


def test_one_step(check):
    status, calls = check('step-spark')
    assert status == 0
    assert len(calls) == 1 and 'spark_resnet-50' in calls[0] and '--compile' not in calls[0]
    assert check('step-unknown') == (2, [])


def names_of_configs():
    return re.findall(r'^    \[[\w-]+\]=(\S+)$', SCRIPT.read_text(), re.M)


def test_every_method_has_a_config():
    names = names_of_configs()
    assert all((ROOT / 'configs' / f'{name}.py').is_file() for name in names)
    families = {path.parent.name for path in (ROOT / 'configs').glob('*/*in1k*.py')}
    # The targets of features come from a network that must be downloaded.
    assert {name.partition('/')[0] for name in names} == families - {'features'}

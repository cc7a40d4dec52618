"""The options of the training commands in the documents fit the configs beside them."""

import re
import runpy
import shlex
import sys

import pytest
from conftest import ROOT, errors_but_for_data, with_options
from mmengine.config import Config

from mmmask.apis.length import set_length
from mmmask.apis.own_data import FORMS, task_of

# Commands of docs/continue.md start from files of other projects; tests/test_continue.py has them.
DOCUMENTS = sorted({*ROOT.glob('*.md'), *ROOT.glob('docs/*.md')} - {ROOT / 'docs/continue.md'})
COMMAND = re.compile(
    r'(?:train\.py|train\.sh|visualize\.py) '
    r'[^\n|]*?(configs/[\w./-]+\.py)[^\n|]*? --cfg-options ([^\n|]*)'
)


def documented_options():
    for document in DOCUMENTS:
        text = document.read_text().replace('\\\n', ' ')
        for config, words in COMMAND.findall(text):
            words = re.split(r'\s(?:#|--|>)', words)[0]
            name = document.relative_to(ROOT)
            yield pytest.param(config, words.strip(), id=f'{name}-{words.split()[0]}')


@pytest.mark.parametrize(('config', 'options'), documented_options())
def test_documented_options_fit_their_config(config, options):
    cfg = Config.fromfile(ROOT / config)
    for option in shlex.split(options):
        place = cfg
        for key in option.partition('=')[0].split('.')[:-1]:
            place = place[int(key) if isinstance(place, list) else key]  # the option is part of it
            if isinstance(place, str):  # replaced by `_delete_`
                break
    assert errors_but_for_data(with_options(cfg, options)) == []


OWN_DATA = [
    line
    for line in (ROOT / 'docs/own_data.md').read_text().splitlines()
    if line.startswith('python tools/')
]


@pytest.mark.parametrize('command', OWN_DATA)
def test_commands_for_own_data_are_parsed_and_their_configs_take_such_data(command, monkeypatch):
    _, tool, *words = shlex.split(command)
    monkeypatch.setattr(sys, 'argv', [tool, *words])
    arguments = runpy.run_path(str(ROOT / tool))['parse_arguments']()
    if tool == 'tools/train.py':
        cfg = Config.fromfile(ROOT / arguments.config)
        set_length(cfg, arguments.epochs, arguments.iters)
        form = FORMS[task_of(cfg)].split(',')[0]
        assert form.count(' ') - form.count(' [') <= len(arguments.data) <= form.count(' ')
    elif tool == 'tools/test.py':
        assert arguments.config.startswith('work_dirs/') and arguments.checkpoint

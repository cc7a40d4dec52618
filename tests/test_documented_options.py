"""The options of the training commands in the documents fit the configs beside them."""

import re
import shlex

import pytest
from conftest import ROOT, errors_but_for_data, with_options
from mmengine.config import Config

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

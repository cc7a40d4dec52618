"""The options of the training commands in the documents fit the configs beside them."""

import argparse
import re
import shlex

import pytest
from conftest import ROOT
from mmengine.config import Config, DictAction

from mmmask.apis.validate import ConfigError, validate_config

DOCUMENTS = sorted([*ROOT.glob('*.md'), *(ROOT / 'docs').glob('*.md')])
COMMAND = re.compile(
    r'(?:train\.py|train\.sh|visualize\.py) '
    r'[^\n|]*?(configs/[\w./-]+\.py)[^\n|]*? --cfg-options ([^\n|]*)'
)
NOT_HERE = ('does not exist', 'give a folder or a .zip of images')


def documented_options():
    for document in DOCUMENTS:
        text = document.read_text().replace('\\\n', ' ')
        for config, words in COMMAND.findall(text):
            words = re.split(r'\s(?:#|--|>)', words)[0]
            name = document.relative_to(ROOT)
            yield pytest.param(config, shlex.split(words), id=f'{name}-{words.split()[0]}')


@pytest.mark.parametrize(('config', 'options'), documented_options())
def test_documented_options_fit_their_config(config, options):
    cfg = Config.fromfile(ROOT / config)
    for option in options:
        place = cfg
        for key in option.partition('=')[0].split('.')[:-1]:
            place = place[int(key) if isinstance(place, list) else key]  # the option is part of it
            if isinstance(place, str):  # replaced by `_delete_`
                break
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=DictAction)
    cfg.merge_from_dict(parser.parse_args(['--cfg-options', *options]).cfg_options)
    try:
        validate_config(cfg)
    except ConfigError as error:  # the photographs may not be here
        told = str(error).splitlines()[1:]
        assert [line for line in told if not any(words in line for words in NOT_HERE)] == []

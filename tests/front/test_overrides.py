"""Options of a config on the command line: trackers by their places, and keys that do not fit."""

import importlib.util
import logging

import pytest
from mmengine.config import Config
from PIL import Image

from mmmask.apis.validate import ConfigError, read_config
from mmmask.front import main, running
from mmmask.front.running import ROOT

LOCAL, BOARD = dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')
WANDB = 'visualizer.vis_backends.1.type=WandbVisBackend'


@pytest.fixture
def without_tensorboard(monkeypatch):
    find = importlib.util.find_spec

    def find_others(name, package=None):
        return None if name == 'tensorboard' else find(name, package)

    monkeypatch.setattr(importlib.util, 'find_spec', find_others)


@pytest.fixture
def written(monkeypatch, tmp_path):
    """Runs a command with options and returns the config that it would train with."""
    monkeypatch.setattr(running, 'run', lambda config, *others: config)
    for index in range(12):
        path = tmp_path / 'images' / 'ab'[index % 2] / f'{index}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (64, 64), (20 * index, 0, 0)).save(path)

    def write(command, *words):
        options = ['--data', str(tmp_path / 'images'), '--out', str(tmp_path / 'run')]
        main.main([command, *options, '--batch-size', '2', '--workers', '0', *words])
        return read_config(tmp_path / 'run' / 'config.py')

    return write


@pytest.mark.parametrize('command', ['pretrain', 'finetune'])
def test_a_tracker_takes_the_place_of_tensorboard_where_that_is_not_installed(
    command, written, without_tensorboard
):
    cfg = written(command, '--cfg-options', WANDB)
    assert cfg.visualizer.vis_backends == [LOCAL, dict(type='WandbVisBackend')]


@pytest.mark.parametrize('command', ['pretrain', 'finetune'])
def test_tensorboard_is_left_out_where_it_is_not_installed(command, written, without_tensorboard):
    assert written(command).visualizer.vis_backends == [LOCAL]


def test_a_rehearsal_leaves_tensorboard_out_too(without_tensorboard, monkeypatch):
    import mmmask.apis.train

    tried = []
    monkeypatch.setattr(mmmask.apis.train, 'rehearse', tried.append)
    running.rehearse(read_config(ROOT / 'configs/demo/mae_vit-tiny_digits.py'), 1)
    assert tried[0].visualizer.vis_backends == [LOCAL]


def test_other_trackers_stay(without_tensorboard):
    backends = [BOARD, dict(type='mmmask.MLflowVisBackend', exp_name='a'), LOCAL]
    cfg = Config(dict(visualizer=dict(vis_backends=backends)))
    running.leave_out_tensorboard(cfg)
    assert cfg.visualizer.vis_backends == backends[1:]
    running.leave_out_tensorboard(Config())  # of a network for which there is no visualizer


def test_tensorboard_stays_where_it_is_installed():
    pytest.importorskip('tensorboard', reason='pip install mmmask[trackers]')
    cfg = Config(dict(visualizer=dict(vis_backends=[LOCAL, BOARD])))
    running.leave_out_tensorboard(cfg)
    assert cfg.visualizer.vis_backends == [LOCAL, BOARD]


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (
            {'hooks.2.type': 'A'},
            "hooks.2.type: hooks is a list of 2 entries and has no '2': use one of hooks.0 to "
            'hooks.1.',
        ),
        (
            {'model.parts.1': 'A'},
            "model.parts.1: model.parts is a list of 1 entry and has no '1': use model.parts.0.",
        ),
        (
            dict(model=dict(parts={'1': dict(type='A')})),
            "model.parts.1.type: model.parts is a list of 1 entry and has no '1': use "
            'model.parts.0.',
        ),
        (
            {'hooks.0.empty.0.a': 1},
            "hooks.0.empty.0.a: hooks.0.empty is a list of 0 entries and has no '0': leave this "
            'key out.',
        ),
        (
            {'hooks.type': 'A'},
            "hooks.type: hooks is a list of 2 entries and has no 'type': use one of hooks.0 to "
            'hooks.1.',
        ),
        # The list is replaced by one of two entries, so the second key is the wrong one.
        (
            {'model.parts': [1, 2], 'hooks.3.a': 1},
            "hooks.3.a: hooks is a list of 2 entries and has no '3': use one of hooks.0 to "
            'hooks.1.',
        ),
    ],
)
def test_an_index_without_an_entry_is_named_with_the_length_and_the_remedy(options, message):
    content = dict(hooks=[dict(type='B', empty=[]), dict(type='C')], model=dict(parts=[dict(x=1)]))
    cfg = Config(content)
    with pytest.raises(ConfigError) as error:
        running.override(cfg, options)
    assert str(error.value) == f'cfg_options: {message}'
    assert cfg.to_dict() == content


def test_a_value_that_has_no_keys_is_named():
    with pytest.raises(ConfigError, match=r"^cfg_options: \{'seed.a': 1\} do not fit the config: "):
        running.override(Config(dict(seed=0)), {'seed.a': 1})


def test_an_entry_that_exists_is_overridden():
    cfg = Config(dict(hooks=[dict(type='B'), dict(type='C')]))
    running.override(cfg, {'hooks.1.type': 'A', 'other': 3})
    assert cfg.to_dict() == dict(hooks=[dict(type='B'), dict(type='A')], other=3)


def test_the_command_ends_with_this_sentence(written, capsys, monkeypatch):
    # Handlers of earlier tests have streams that are closed, which logging would report.
    monkeypatch.setattr(logging, 'raiseExceptions', False)
    with pytest.raises(SystemExit) as ended:
        written('pretrain', '--cfg-options', 'visualizer.vis_backends.7.type=WandbVisBackend')
    assert ended.value.code == 2
    assert capsys.readouterr().err == (
        'mmmask pretrain: cfg_options: visualizer.vis_backends.7.type: visualizer.vis_backends is '
        "a list of 2 entries and has no '7': use one of visualizer.vis_backends.0 to "
        'visualizer.vis_backends.1.\n'
    )

"""A step with a non-finite loss is reproduced, and the module in which it began is named."""

import math
import re
import runpy
import sys

import pytest
import torch
from conftest import ROOT, build_model
from mmengine.config import Config

from mmmask.apis.train import build_runner
from mmmask.checkpoints import CheckpointError, write_checkpoint
from mmmask.lab.replay import replay
from mmmask.lab.soak import soak_config

CONFIG = ROOT / 'configs' / 'demo' / 'ehm_vit-tiny_digits.py'


@pytest.fixture(scope='module')
def broken(tmp_path_factory):
    """A config, and the file of a step in which one weight of the decoder became infinite."""
    folder = tmp_path_factory.mktemp('broken')
    cfg = soak_config(CONFIG, folder / 'work', images=32, epochs=2)
    runner, _ = build_runner(cfg)
    cfg.dump(folder / 'config.py')
    weight = runner.model.neck.layers[0].ln1.weight

    class Break:
        def __init__(self, hook):
            self.before = hook.before_train_iter
            hook.before_train_iter = self

        def __call__(self, runner, batch_idx, data_batch=None):
            self.before(runner, batch_idx, data_batch)
            with torch.no_grad():
                weight.fill_(math.inf if runner.iter == 6 else 1.0)

    (hook,) = (h for h in runner.hooks if type(h).__name__ == 'NonFiniteLossHook')
    Break(hook)
    runner.train()
    (path,) = (folder / 'work' / 'nonfinite').iterdir()
    return folder / 'config.py', path


def test_the_step_is_repeated_and_its_origin_named(broken):
    result = replay(*broken)
    assert result.iteration == 7
    assert math.isnan(result.recorded['loss']) and math.isnan(result.losses['loss'])
    assert result.origin == 'neck.layers.0.ln1'
    assert result.broken_weights == ['neck.layers.0.ln1.weight']


def test_a_fixed_step_gives_the_loss_of_its_random_numbers(broken, tmp_path):
    """With the weight corrected the loss is finite, and the same at every replay: masks repeat."""
    config, path = broken
    record = torch.load(path, weights_only=True)
    record['model']['neck.layers.0.ln1.weight'].fill_(1.0)
    write_checkpoint(record, tmp_path / 'fixed.pth')
    first, second = (replay(config, tmp_path / 'fixed.pth') for _ in range(2))
    assert first.losses == second.losses and math.isfinite(first.losses['loss'])
    assert first.origin is None
    assert record['progress'] == {'masking': 1.0}  # of the last of two epochs
    record['progress']['masking'] = 0.0
    write_checkpoint(record, tmp_path / 'earlier.pth')
    assert replay(config, tmp_path / 'earlier.pth').losses != first.losses


def test_the_command_prints_the_origin(broken, monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['replay.py', *map(str, broken)])
    runpy.run_path(str(ROOT / 'tools' / 'replay.py'), run_name='__main__')
    text = capsys.readouterr().out
    assert re.search(r'loss +nan in the run, nan in the replay', text)
    assert 'origin     neck.layers.0.ln1' in text
    assert 'weights    not finite in neck.layers.0.ln1.weight' in text


def test_other_files_are_refused(broken, tmp_path):
    model = build_model('demo/mae_vit-tiny_digits.py')
    write_checkpoint(model.state_dict(), tmp_path / 'weights.pth')
    with pytest.raises(CheckpointError, match=r"lacks \['batch', 'iteration'.*nonfinite"):
        replay(broken[0], tmp_path / 'weights.pth')
    other = ROOT / 'configs' / 'demo' / 'mae_vit-tiny_digits.py'
    with pytest.raises(CheckpointError, match='is not of the model in'):
        replay(other, broken[1])
    assert Config.fromfile(other).model.type == 'mmmask.MAE'

"""Runs under kills and damaged files, and the comparison that judges them."""

import copy
import os
import signal

import pytest
import torch
from conftest import ROOT
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer

from mmmask.engine.hooks.preemption import PREEMPTED
from mmmask.lab import soak as module
from mmmask.lab.soak import Fault, compare, compare_values, run_process, soak, soak_config
from mmmask.registry import HOOKS

CONFIG = ROOT / 'configs' / 'demo' / 'ehm_vit-tiny_digits.py'


def test_nothing_is_lost(tmp_path):
    lines = []
    result = soak(CONFIG, tmp_path, kills=8, seed=0, images=40, epochs=2, report=lines.append)
    assert result.differences == []
    assert result.kills >= 8 and result.runs >= 1
    assert result.starts > result.kills
    assert lines[-1].startswith(f'{result.kills} of 8 kills')


def test_a_folder_with_files_is_refused(tmp_path):
    """Runs in the folder are removed, so it must contain nothing else."""
    (tmp_path / 'run_0').mkdir()
    with pytest.raises(FileExistsError, match='is not empty, and runs in it are removed'):
        soak(CONFIG, tmp_path, kills=1)
    assert (tmp_path / 'run_0').is_dir()


def test_a_run_that_is_not_the_same_is_reported(tmp_path, monkeypatch):
    """The soak fails if checkpoints hold no random states."""
    monkeypatch.setattr(
        module, 'random_fault', lambda *_: Fault('SIGKILL', call='replace', repetition=8)
    )
    monkeypatch.setattr(module, 'damage', lambda *_: 'nothing')
    hook = 'mmmask.engine.hooks.durable_checkpoint.set_random_state'
    monkeypatch.setattr(hook, lambda state: None)
    result = soak(CONFIG, tmp_path, kills=1, images=40, epochs=2, report=lambda _: None)
    assert any('state_dict' in line for line in result.differences)
    assert any('.loss is ' in line for line in result.differences)


@HOOKS.register_module()
class GroupSignalHook(Hook):
    """Signals all processes of a run, as Slurm does, the data-loading workers among them."""

    def before_train(self, runner):
        os.setpgrp()

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == 4:
            os.killpg(0, signal.SIGTERM)


def test_a_signal_to_all_ends_in_a_checkpoint_and_exit_code_75(tmp_path):
    cfg = soak_config(CONFIG, tmp_path, images=64, epochs=2)
    cfg.train_dataloader.update(num_workers=2, persistent_workers=True)
    cfg.default_hooks.checkpoint.interval = 10_000
    cfg.custom_hooks.append(dict(type='mmmask.GroupSignalHook'))
    assert run_process(cfg, None) == PREEMPTED == 75
    assert [path.name for path in tmp_path.glob('*.pth')] == ['iter_5.pth']
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / 'iter_5.pth')
    (log,) = tmp_path.glob('*/*.log')
    assert 'Stopped by SIGTERM after iteration 5' in log.read_text()
    assert 'Traceback' not in (tmp_path / 'output.txt').read_text()


def test_the_exit_code_of_a_killed_process(tmp_path):
    cfg = soak_config(CONFIG, tmp_path, images=16, epochs=2)
    assert run_process(cfg, Fault('SIGKILL', call='replace')) == -signal.SIGKILL
    assert list(tmp_path.glob('*.pth')) == []


def test_compare():
    run = dict(
        checkpoint=dict(
            state_dict=dict(weight=torch.zeros(2)),
            message_hub=dict(loss=HistoryBuffer([1.0, 2.0], [1, 1]), time=3.0),
            numbers=(1, [2.5, 'x']),
        ),
        log={1: [dict(step=1, loss=0.5, time=1.0)]},
    )
    other = copy.deepcopy(run)
    other['checkpoint']['message_hub']['time'] = 4.0
    other['log'][1] *= 2
    other['log'][1][1]['time'] = 2.0
    assert compare(run, other, 'run') == []
    other['checkpoint']['state_dict']['weight'][1] = -0.0
    other['checkpoint']['message_hub']['loss'].update(3.0)
    other['checkpoint']['numbers'] = (1, [2.5, 'y'])
    other['log'] = {1: [dict(step=1, loss=0.25)], 2: []}
    assert sorted(compare(run, other, 'run')) == [
        'run.message_hub.loss.0 differs',
        'run.message_hub.loss.1 differs',
        "run.numbers.1.1 is 'y' instead of 'x'",
        'run.state_dict.weight differs',
        'run: log of step 1.loss is 0.25 instead of 0.5',
        'run: only one log has the steps [2]',
    ]


@pytest.mark.parametrize('pair', [({'a': 1}, {}), ([1], [1, 2]), (1, 1.5), (None, 0)])
def test_unequal_values(pair):
    assert len(list(compare_values(*pair, 'place'))) == 1

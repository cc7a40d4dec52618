"""The launcher: learning rates, precision, and the same curve on one and on two processes."""

import json
import os
import re
import runpy
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
import torch.multiprocessing
from conftest import ROOT
from mmengine.config import Config
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from mmmask.apis import train as train_module
from mmmask.apis.train import (
    die_with_the_launcher,
    launched,
    load_config,
    restarted,
    scale_learning_rate,
    set_precision,
)
from mmmask.checkpoints import find_tensors, open_checkpoint

DIGITS = ROOT / 'configs' / 'demo' / 'mae_vit-tiny_digits.py'
LARGE = 'localmim/localmim_vit-large-p16_8xb128-accum4-amp-coslr-800e_in1k.py'


def environment(*paths):
    paths = os.pathsep.join(str(path) for path in (ROOT, *paths))
    return os.environ | {'PYTHONPATH': paths, 'OMP_NUM_THREADS': '1'}


def run(*command, **kwargs):
    return subprocess.run(
        [str(part) for part in command], cwd=ROOT, capture_output=True, text=True, **kwargs
    )


@pytest.mark.parametrize(
    ('config', 'world_size', 'peak'),
    [
        ('localmim/localmim_vit-base-p16_8xb256-amp-coslr-100e_in1k.py', 8, 1.6e-3),
        (LARGE, 8, 2.4e-3),  # 128 a GPU, four accumulated
        ('mae/mae_vit-base-p16_8xb512-amp-coslr-300e_in1k.py', 8, 2.4e-3),
    ],
)
def test_peak_learning_rates_of_the_papers(config, world_size, peak):
    cfg = Config.fromfile(ROOT / 'configs' / config)
    scale_learning_rate(cfg, world_size)
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(peak)


def test_the_arithmetic_of_the_learning_rate_is_spelt_out():
    cfg = Config.fromfile(ROOT / 'configs' / LARGE)
    expected = (
        'batch 128 x 2 processes x 4 accumulated = 1024; learning rate 0.00015 x 1024/256 = 0.0006'
    )
    assert scale_learning_rate(cfg, 2) == expected
    # Once scaled, the rate is absolute: nothing scales it twice.
    assert scale_learning_rate(cfg, 2).endswith('learning rate 0.0006 (absolute)')


@pytest.mark.parametrize('has_bf16', [True, False])
@pytest.mark.parametrize('has_gpu', [True, False])
def test_precision(monkeypatch, has_gpu, has_bf16):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: has_gpu)
    monkeypatch.setattr(torch.cuda, 'is_bf16_supported', lambda: has_bf16)
    monkeypatch.setattr(train_module, 'multiplies_bf16', lambda: has_bf16)

    def wrapper(amp, **existing):
        cfg = Config(dict(optim_wrapper=dict(type='OptimWrapper', **existing)))
        set_precision(cfg, amp)
        return cfg.optim_wrapper.to_dict()

    bf16 = dict(type='mmmask.ProcessorAmpOptimWrapper')
    if has_gpu:
        bf16 = dict(type='AmpOptimWrapper', dtype='bfloat16')
        half = dict(type='AmpOptimWrapper', dtype='float16', loss_scale='dynamic')
        assert wrapper('fp16') == half
    else:
        with pytest.raises(ValueError, match="amp='fp16' needs a GPU: choose 'bf16' or 'off'"):
            wrapper('fp16')
    assert wrapper('bf16') == bf16
    assert wrapper('off', dtype='float16') == dict(type='OptimWrapper')
    assert wrapper('auto') == (bf16 if has_bf16 else dict(type='OptimWrapper'))
    with pytest.raises(ValueError, match="amp='fp8' is not one of"):
        wrapper('fp8')


def test_the_command_line_reaches_the_config(tmp_path):
    checkpoint = tmp_path / 'some.pth'
    checkpoint.touch()
    cfg = load_config(
        DIGITS,
        options={'train_cfg.max_epochs': 7},
        work_dir=str(tmp_path),
        seed=11,
        pretrained=str(checkpoint),
        resume='auto',
    )
    assert cfg.train_cfg.max_epochs == 7
    assert cfg.work_dir == str(tmp_path)
    assert cfg.randomness == dict(seed=11, diff_rank_seed=True)
    assert cfg.resume and cfg.load_from is None
    assert cfg.custom_hooks[-1] == dict(
        type='mmmask.LoadBackboneHook', checkpoint=str(checkpoint), allow_missing=False
    )
    assert load_config(DIGITS, resume=str(checkpoint)).load_from == str(checkpoint)
    assert load_config(DIGITS).work_dir == 'work_dirs/mae_vit-tiny_digits'
    home = os.path.expanduser('~/x')
    assert load_config(DIGITS, {'work_dir': '~/x'}).work_dir == home
    with pytest.raises(FileNotFoundError, match="config 'missing.py' does not exist"):
        load_config('missing.py')
    with pytest.raises(FileNotFoundError, match="--pretrained 'missing.pth' does not exist"):
        load_config(DIGITS, pretrained='missing.pth')


def test_unreadable_files_are_reported_from_within_other_data_sets(tmp_path):
    folder = dict(type='mmmask.ImageFolder', source='x')
    several = dict(type='ConcatDataset', datasets=[dict(folder), dict(folder, report_file='own')])
    dataset = dict(type='RepeatDataset', times=2, dataset=several)
    cfg = Config(dict(work_dir=str(tmp_path), train_dataloader=dict(dataset=dataset)))
    train_module.set_defaults(cfg)
    first, second = cfg.train_dataloader.dataset.dataset.datasets
    assert first.report_file == str(tmp_path / 'unreadable_images.txt')
    assert second.report_file == 'own'


def test_a_run_that_was_started_again_resumes(monkeypatch):
    for variable in ('TORCHELASTIC_RESTART_COUNT', 'SLURM_RESTART_COUNT'):
        monkeypatch.delenv(variable, raising=False)
    assert not restarted()
    for variable in ('TORCHELASTIC_RESTART_COUNT', 'SLURM_RESTART_COUNT'):
        monkeypatch.setenv(variable, '0')
        assert not restarted()
        monkeypatch.setenv(variable, '2')
        assert restarted()
        monkeypatch.delenv(variable)


def test_processes_end_with_their_launcher(tmp_path):
    """A process whose launcher is killed gets SIGTERM, which leads to a checkpoint."""
    ready, asked = tmp_path / 'ready', tmp_path / 'asked'
    launcher = os.fork()
    if launcher == 0:
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, lambda *_: (asked.touch(), os._exit(0)))
            die_with_the_launcher()
            ready.touch()
            time.sleep(60)
        while not ready.exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(launcher, 0)[1]) == -signal.SIGKILL
    patience = time.monotonic() + 30
    while not asked.exists() and time.monotonic() < patience:
        time.sleep(0.01)
    assert asked.exists()


@pytest.mark.parametrize(
    ('error', 'left'),
    [(None, True), (SystemExit(75), True), (SystemExit(2), False), (ValueError(), False)],
)
def test_a_group_and_its_threads_end_before_the_process_unless_it_failed(error, left):
    """Threads that free tensors while the interpreter ends abort a process of a complete run."""
    # In a process of its own, as those that fail keep their threads.
    torch.multiprocessing.start_processes(_leave, args=(error, left), start_method='fork')


def _leave(rank, error, left):
    def num_threads():
        return len(os.listdir('/proc/self/task'))

    def work():
        store = torch.distributed.HashStore()
        torch.distributed.init_process_group('gloo', store=store, rank=0, world_size=1)
        runner = SimpleNamespace(model=DistributedDataParallel(nn.Linear(2, 2)))
        runner.hook = SimpleNamespace(group=torch.distributed.new_group(), runner=runner)
        if error:
            raise error

    before = num_threads()
    with pytest.raises(type(error)) if error else nullcontext(), launched('none'):
        work()
    assert torch.distributed.is_initialized() != left
    assert (num_threads() == before) == left


def test_dry_run_says_what_would_happen_and_leaves_nothing(tmp_path):
    work_dir = tmp_path / 'work'
    result = run(
        sys.executable,
        'tools/train.py',
        DIGITS,
        '--dry-run',
        '--work-dir',
        work_dir,
        '--cfg-options',
        'train_dataloader.num_workers=0',
        env=environment() | {'COLUMNS': '160'},
    )
    assert result.returncode == 0, result.stderr
    text = re.sub(r'[│\s]+', ' ', result.stdout)
    assert 'batch 128 x 1 processes x 1 accumulated = 128; learning rate 0.003 x 128/256' in text
    assert 'train_dataloader 4,000 images, 10 classes, 64 x 64 px, 3 channels' in text
    assert 'length 20 epochs of 31 iterations' in text
    assert not work_dir.exists()


def test_a_wrong_config_stops_before_it_starts_and_without_a_traceback(tmp_path):
    result = run(
        sys.executable,
        'tools/train.py',
        DIGITS,
        '--work-dir',
        tmp_path / 'work',
        '--cfg-options',
        'model.masking.ratio=75',
        'model.backbone.pach_size=8',
        env=environment(),
    )
    assert result.returncode == 1
    assert 'Found 2 errors' in result.stderr
    assert 'model.masking.ratio' in result.stderr
    assert 'patch_size' in result.stderr
    assert 'Traceback' not in result.stderr
    assert not (tmp_path / 'work').exists()


def test_a_wrong_checkpoint_stops_without_a_traceback(tmp_path):
    torch.save(dict(state_dict={'neck.embed.weight': torch.ones(3)}), tmp_path / 'neck.pth')
    result = run(
        sys.executable,
        'tools/train.py',
        DIGITS,
        '--pretrained',
        tmp_path / 'neck.pth',
        '--work-dir',
        tmp_path / 'work',
        '--cfg-options',
        'train_dataloader.num_workers=0',
        env=environment(),
    )
    assert result.returncode == 1
    assert f'{tmp_path}/neck.pth' in result.stderr
    assert '(0 tensors match): the file fits none of the layouts' in result.stderr
    assert 'Traceback' not in result.stderr


@pytest.mark.parametrize('name', ['SIGTERM', 'SIGUSR1'])
def test_a_signal_before_training_ends_in_75(tmp_path, monkeypatch, capsys, name):
    """A scheduler queues such a run again, as one that was stopped within training."""
    config = tmp_path / 'config.py'
    config.write_text(f'import os, signal\n\nos.kill(os.getpid(), signal.{name})\n')
    monkeypatch.setattr(sys, 'argv', ['train.py', str(config)])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(ROOT / 'tools/train.py'), run_name='__main__')
    child = os.fork()
    if child == 0:  # as pools of processes end theirs
        signal.raise_signal(signal.Signals[name])
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.Signals[name]
    assert stop.value.code == 75
    assert f'Stopped by {name} outside of training: there is nothing to save' in (
        capsys.readouterr().err
    )


FIXED_MASK = '''
import torch
from mmmask.masking import mask_from_scores
from mmmask.registry import MODELS

@MODELS.register_module()
class CheckerboardMask(torch.nn.Module):
    """The same mask for every image, so that runs differ in nothing but the number of processes."""

    needs_evidence = False

    def forward(self, num_images, grid, device='cpu', evidence=None):
        row = torch.arange(grid[0], device=device).unsqueeze(1)
        scores = (row + torch.arange(grid[1], device=device)) % 2
        scores = scores.flatten().float().expand(num_images, -1)
        return mask_from_scores(scores, scores.shape[1] // 2, grid)
'''
FIXED_CONFIG = f"""
_base_ = {str(DIGITS)!r}
custom_imports = dict(imports=['fixed_mask'])
model = dict(masking=dict(_delete_=True, type='mmmask.CheckerboardMask'))
train_dataloader = dict(
    num_workers=0, dataset=dict(indices=1536, pipeline={{{{_base_.plain_pipeline}}}})
)
optim_wrapper = dict(optimizer=dict(_delete_=True, type='SGD', lr=0.05, momentum=0.9))
param_scheduler = dict(warmup_epochs=0)
train_cfg = dict(max_epochs=1)
default_hooks = dict(logger=dict(interval=1))
custom_hooks = []
"""


def curve_and_weights(launch, folder, batch_size):
    work_dir = folder / f'batch{batch_size}'
    result = run(
        *launch,
        '--work-dir',
        work_dir,
        '--cfg-options',
        f'train_dataloader.batch_size={batch_size}',
        env=environment(folder),
        timeout=600,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    (log,) = work_dir.glob('*/vis_data/scalars.json')
    losses = [json.loads(line)['loss'] for line in log.read_text().splitlines() if 'loss' in line]
    return losses, find_tensors(open_checkpoint(work_dir / 'epoch_1.pth'))


def test_two_processes_follow_the_curve_of_one(tmp_path):
    """Half the batch each, one mask for all and no augmentation, 12 steps.

    The weights end equal to 1e-4 of the way they went: what is left is the order of the sums in
    fp32. A log shows the loss of the first process, which is of half the images, hence the 1 %.
    """
    (tmp_path / 'fixed_mask.py').write_text(FIXED_MASK)
    config = tmp_path / 'fixed.py'
    config.write_text(FIXED_CONFIG)
    one, weights = curve_and_weights(
        [sys.executable, 'tools/train.py', config, '--amp', 'off'], tmp_path, 128
    )
    two, others = curve_and_weights(
        ['tools/dist_train.sh', config, 2, '--amp', 'off'], tmp_path, 64
    )
    assert len(one) == 12
    assert one[-1] < 0.9 * one[0]
    assert two == pytest.approx(one, rel=1e-2)
    # Biases start at zero, so their size is the way they went.
    name = 'neck.project.bias'
    assert (weights[name] - others[name]).norm() < 1e-4 * weights[name].norm()
    for name, weight in weights.items():
        torch.testing.assert_close(others[name], weight, atol=1e-5, rtol=1e-4)

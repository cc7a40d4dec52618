"""A resumed run does what its config asks for, or is refused with two commands that work."""

import copy
import logging
import math
import random
import runpy
import shlex
import shutil
import sys

import pytest
import torch
from conftest import ROOT
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import Dataset

import mmmask.engine  # noqa: F401  registers loops and hooks
from mmmask.checkpoints import CheckpointError, open_checkpoint
from mmmask.engine import resuming
from mmmask.engine.hooks import LoadBackboneHook
from mmmask.registry import DATASETS, HOOKS, MODELS

DIGITS = ROOT / 'configs' / 'demo' / 'mae_vit-tiny_digits.py'


@DATASETS.register_module(force=True)
class Numbers(Dataset):
    """The numbers 0 to ``size`` − 1."""

    def __init__(self, size, repeats=1):
        self.size, self.repeats = size, repeats

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        return dict(number=index, inputs=torch.full((4,), float(index)))


@MODELS.register_module(force=True)
class Toy(BaseModel):
    def __init__(self, width):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, width), nn.LayerNorm(width))

    def forward(self, inputs, number, mode):
        return dict(loss=self.layers(inputs / 16).square().mean())


@HOOKS.register_module(force=True)
class RecordStepsHook(Hook):
    """Record what every step of a run uses."""

    def before_train(self, runner):
        runner.steps = {}

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        groups = runner.optim_wrapper.optimizer.param_groups
        runner.steps[runner.iter] = dict(
            rates=[group['lr'] for group in groups],
            decays=[group['weight_decay'] for group in groups],
            images=data_batch['number'].tolist(),
        )


WARMUP_COSINE = dict(type='mmmask.WarmupCosineLR', warmup_epochs=1, convert_to_iter_based=True)
BY_BOTH = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=3),
    dict(type='MultiStepLR', by_epoch=True, milestones=[1, 2], gamma=0.1),
]
BY_ITERATIONS = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=3),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=3),
]
ITERATIONS = {
    'train_cfg.type': 'mmmask.ResumableIterTrainLoop',
    'train_dataloader.sampler.type': 'mmmask.ResumableInfiniteSampler',
}


def train(work_dir, length=2, lr=0.1, batch_size=4, schedule=WARMUP_COSINE, **options):
    """Train on 16 numbers, resuming from the work directory if possible."""
    from mmengine.config import Config

    cfg = Config(
        dict(
            default_scope='mmmask',
            model=dict(type='Toy', width=3),
            train_dataloader=dict(
                batch_size=batch_size,
                num_workers=0,
                collate_fn=dict(type='default_collate'),
                sampler=dict(type='mmmask.ResumableSampler', shuffle=True),
                dataset=dict(type='Numbers', size=16),
            ),
            train_cfg=dict(type='mmmask.ResumableTrainLoop'),
            optim_wrapper=dict(
                optimizer=dict(type='AdamW', lr=lr, weight_decay=0.05),
                paramwise_cfg=dict(custom_keys={'layers.1': dict(lr_mult=0.5)}),
            ),
            param_scheduler=copy.deepcopy(schedule),
            default_hooks=dict(
                checkpoint=dict(
                    type='mmmask.DurableCheckpointHook',
                    interval=2,
                    by_epoch=False,
                    max_keep_ckpts=-1,
                )
            ),
            custom_hooks=[dict(type='RecordStepsHook')],
            visualizer=dict(type='Visualizer', vis_backends=[]),
            randomness=dict(seed=0),
            resume=True,
            work_dir=str(work_dir),
            log_level='WARNING',
        )
    )
    cfg.experiment_name = f'resuming-{random.Random().getrandbits(60)}'
    cfg.merge_from_dict(options)
    unit = 'max_iters' if 'Iter' in cfg.train_cfg.type else 'max_epochs'
    cfg.train_cfg[unit] = length
    runner = Runner.from_cfg(cfg)
    runner.logger.addHandler(Lines(runner))
    runner.train()
    return runner


class Lines(logging.Handler):
    """Keeps the lines of a run's log that state changes."""

    def __init__(self, runner):
        super().__init__()
        runner.lines = self.lines = []

    def emit(self, record):
        if record.getMessage().startswith('Changed'):
            self.lines.append(record.getMessage())


def rates(runner):
    return [step['rates'] for step in runner.steps.values()]


def warmup_cosine(iteration, peak, epochs, epoch_length=4):
    """The rate of WARMUP_COSINE, computed from its definition."""
    epoch = iteration / epoch_length
    if epoch < 1:
        return peak * epoch
    return peak * (1 + math.cos(math.pi * (epoch - 1) / (epochs - 1))) / 2


class TestWhatIsObeyed:
    def test_more_epochs(self, tmp_path):
        train(tmp_path, length=2)
        runner = train(tmp_path, length=4)
        assert list(runner.steps) == list(range(8, 16))
        expected = [warmup_cosine(iteration, 0.1, 4) for iteration in range(8, 16)]
        assert [r[0] for r in rates(runner)] == pytest.approx(expected)
        assert [r[2] for r in rates(runner)] == pytest.approx([e / 2 for e in expected])
        # 0.1 * (1 + cos(pi / 3)) / 2 instead of 0.1 * (1 + cos(3 / 4 * pi)) / 2
        assert runner.lines == [
            'Changed since the checkpoint: train_cfg.max_epochs: 2 → 4. The learning rate '
            'continues at 0.075 (0.0146447 in the checkpoint), as planned for 4 epochs.'
        ]

    def test_fewer_epochs_and_another_rate(self, tmp_path):
        train(tmp_path, length=8)
        (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'iter_6.pth'))
        runner = train(tmp_path, length=3, lr=0.2)
        assert list(runner.steps) == list(range(6, 12))
        expected = [warmup_cosine(iteration, 0.2, 3) for iteration in range(6, 12)]
        assert [r[0] for r in rates(runner)] == pytest.approx(expected)

    @pytest.mark.parametrize(
        ('schedule', 'options'),
        [
            (WARMUP_COSINE, {}),
            (BY_BOTH, {}),
            (BY_ITERATIONS, ITERATIONS),
            (dict(type='PolyLR', power=2, eta_min=1e-3, by_epoch=False), ITERATIONS),
            (dict(type='CosineAnnealingLR', by_epoch=True), {}),
            (None, {}),
        ],
        ids=['warmup-cosine', 'both', 'iterations', 'poly', 'epochs', 'none'],
    )
    def test_rates_are_those_of_a_run_of_the_new_config(self, tmp_path, schedule, options):
        unit = 1 if options else 4
        train(tmp_path / 'run', 8 // unit, 0.1, schedule=schedule, **options)
        changed = {'optim_wrapper.optimizer.weight_decay': 0.3, **options}
        whole = train(tmp_path / 'whole', 16 // unit, 0.2, schedule=schedule, **changed)
        for checkpoint in (6, 8):  # in the middle and at the end of an epoch
            folder, path = tmp_path / str(checkpoint), f'iter_{checkpoint}.pth'
            folder.mkdir()
            shutil.copy(tmp_path / 'run' / path, folder)
            runner = train(folder, 16 // unit, 0.2, schedule=schedule, **changed)
            assert list(runner.steps) == list(range(checkpoint, 16))
            assert rates(runner) == rates(whole)[checkpoint:]
            assert {d for step in runner.steps.values() for d in step['decays']} == {0.3}
            (line,) = runner.lines
            assert 'weight_decay: 0.05 → 0.3' in line and 'optimizer.lr: 0.1 → 0.2' in line

    def test_the_state_of_the_optimizer_stays(self, tmp_path):
        """At rate 0 no weight changes, but the momentum continues from that of the checkpoint."""
        train(tmp_path, schedule=None)
        before = open_checkpoint(tmp_path / 'iter_6.pth')
        (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'iter_6.pth'))
        runner = train(tmp_path, schedule=None, lr=0.0)
        for name, value in runner.model.state_dict().items():
            assert torch.equal(value, before['state_dict'][name]), name
        after = runner.optim_wrapper.state_dict()['state']
        assert {s['step'].item() for s in after.values()} == {8}

    def test_a_resumed_run_is_resumed_again_without_another_plan(self, tmp_path):
        train(tmp_path, length=2)
        train(tmp_path, length=4)
        path = tmp_path / 'iter_10.pth'
        (tmp_path / 'last_checkpoint').write_text(str(path))
        runner = train(tmp_path, length=4)
        expected = [warmup_cosine(iteration, 0.1, 4) for iteration in range(10, 16)]
        assert [r[0] for r in rates(runner)] == pytest.approx(expected)
        assert runner.lines == []

    def test_another_batch_size_at_the_end_of_an_epoch(self, tmp_path):
        train(tmp_path, length=2)
        (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'iter_4.pth'))
        runner = train(tmp_path, length=2, lr=0.2, batch_size=8)
        assert list(runner.steps) == [2, 3]
        expected = [warmup_cosine(iteration, 0.2, 2, epoch_length=2) for iteration in (2, 3)]
        assert [r[0] for r in rates(runner)] == pytest.approx(expected)
        images = sorted(n for step in runner.steps.values() for n in step['images'])
        assert images == list(range(16))
        assert 'batch_size: 4 → 8' in runner.lines[0]

    def test_another_batch_size_by_iterations(self, tmp_path):
        options = ITERATIONS | dict(schedule=BY_ITERATIONS)
        train(tmp_path / 'run', 8, **options)
        whole = train(tmp_path / 'whole', 8, 0.2, 8, **options)
        (tmp_path / 'run' / 'last_checkpoint').write_text(str(tmp_path / 'run' / 'iter_6.pth'))
        runner = train(tmp_path / 'run', 8, 0.2, 8, **options)
        assert runner.steps == {i: whole.steps[i] for i in (6, 7)}

    def test_a_schedule_with_an_end_of_its_own_is_named(self, tmp_path):
        schedule = dict(type='PolyLR', eta_min=0.01, by_epoch=False, end=8)
        options = ITERATIONS | dict(schedule=schedule)
        train(tmp_path, 8, **options)
        runner = train(tmp_path, 12, **options)
        assert [r[0] for r in rates(runner)] == [0.01] * 4
        assert 'The schedule ends at iteration 8 and the run at 12' in runner.lines[0]

    def test_fewer_processes_with_the_same_images_a_step(self, tmp_path, monkeypatch):
        """The checkpoint is edited as if two processes with two images each had written it."""
        whole = train(tmp_path)
        describe = resuming.describe_loader
        path = tmp_path / 'iter_6.pth'
        checkpoint = torch.load(path, weights_only=False)
        checkpoint['resume']['loader'].update(processes=2, batch_size=2)
        torch.save(checkpoint, path)
        (tmp_path / 'iter_6.pth.sha256').unlink()
        (tmp_path / 'last_checkpoint').write_text(str(path))
        assert describe(whole)['processes'] == 1
        runner = train(tmp_path)
        assert runner.steps == {i: whole.steps[i] for i in (6, 7)}
        assert runner.lines == [
            'Changed since the checkpoint: processes: 2 → 1; batch_size: 2 → 4.'
        ]

    def test_accumulation(self, tmp_path):
        train(tmp_path, length=2)
        runner = train(tmp_path, length=4, **{'optim_wrapper.accumulative_counts': 2})
        state = runner.optim_wrapper.state_dict()['state']
        assert {s['step'].item() for s in state.values()} == {8 + 8 / 2}
        assert 'optim_wrapper.accumulative_counts: absent → 2' in runner.lines[0]


class TestWhatIsRefused:
    def refusal(self, tmp_path, **options):
        with pytest.raises(CheckpointError) as refused:
            train(tmp_path, **options)
        text, *commands = str(refused.value).split('\n')
        assert text.endswith('Two commands work:')
        assert [line.startswith('    ') for line in commands] == [False, True, False, True]
        return text, [line.strip() for line in commands[1::2]]

    def at(self, tmp_path, iteration):
        path = tmp_path / f'iter_{iteration}.pth'
        (tmp_path / 'last_checkpoint').write_text(str(path))
        return path

    def test_another_batch_size_within_an_epoch(self, tmp_path):
        train(tmp_path)
        path = self.at(tmp_path, 6)
        text, commands = self.refusal(tmp_path, batch_size=8)
        reason = 'it was saved in the middle of an epoch with '
        assert text.startswith(f'{path} cannot be resumed like this: {reason}')
        assert "'batch_size': 4" in text and "'batch_size': 8" in text
        start = f'tools/train.py CONFIG --work-dir {tmp_path} --resume {tmp_path}'
        assert commands == [
            f'{start}/iter_6.pth --cfg-options train_dataloader.batch_size=4',
            f'{start}/iter_4.pth',
        ]
        for name in ('iter_2.pth', 'iter_4.pth'):
            (tmp_path / name).unlink()
        assert self.refusal(tmp_path, batch_size=8)[1][1] == (
            f'tools/train.py CONFIG --work-dir {tmp_path}_new --cfg-options load_from={path}'
        )

    def test_another_number_of_processes_within_an_epoch(self, tmp_path):
        """The checkpoint is edited as if two processes had written it."""
        train(tmp_path)
        path = self.at(tmp_path, 6)
        checkpoint = torch.load(path, weights_only=False)
        checkpoint['resume']['loader'].update(processes=2, images=32)
        torch.save(checkpoint, path)
        (tmp_path / 'iter_6.pth.sha256').unlink()
        text, commands = self.refusal(tmp_path)
        assert "'processes': 2" in text and "'processes': 1" in text
        assert commands == [
            f'tools/dist_train.sh CONFIG 2 --work-dir {tmp_path} --resume {path}',
            f'tools/train.py CONFIG --work-dir {tmp_path} --resume {tmp_path}/iter_4.pth',
        ]

    def test_another_seed(self, tmp_path):
        train(tmp_path)
        text, commands = self.refusal(tmp_path, **{'randomness.seed': 5})
        assert 'come from seed 0, but randomness.seed=5' in text
        assert commands[0].endswith('iter_8.pth --seed 0')

    def test_a_length_that_is_over(self, tmp_path):
        train(tmp_path, length=3)
        text, commands = self.refusal(tmp_path, length=2)
        assert '12 iterations are done, but train_cfg.max_epochs=2 ends at 8' in text
        assert commands[0].endswith('--cfg-options train_cfg.max_epochs=3')
        assert commands[1].endswith(f'--resume {tmp_path}/iter_6.pth')

    def test_another_model(self, tmp_path):
        train(tmp_path)
        text, commands = self.refusal(tmp_path, **{'model.width': 5})
        assert '4 tensors differ, such as layers.0.weight ((3, 4) in the checkpoint, (5, 4)' in text
        assert commands[0].endswith('--cfg-options model.width=3')

    def test_another_optimizer(self, tmp_path):
        train(tmp_path)
        text, commands = self.refusal(tmp_path, **{'optim_wrapper.optimizer.type': 'SGD'})
        assert "its optimizer is AdamW, but optim_wrapper.optimizer.type='SGD'" in text
        assert commands[0].endswith('--cfg-options optim_wrapper.optimizer.type=AdamW')
        text, _ = self.refusal(tmp_path, **{'optim_wrapper.paramwise_cfg': None})
        assert 'groups of [1, 1, 1, 1] parameters, but now there are [4]' in text

    def test_another_pretrained_backbone(self, tmp_path, monkeypatch):
        """It would not be loaded, as the weights are those of the checkpoint."""
        monkeypatch.setattr(LoadBackboneHook, '_load', lambda self, runner: None)

        def pretrained(path):
            load = dict(type='mmmask.LoadBackboneHook', checkpoint=path)
            return dict(custom_hooks=[dict(type='RecordStepsHook'), load])

        train(tmp_path / 'none')
        text, commands = self.refusal(tmp_path / 'none', **pretrained('a.pth'))
        assert '--pretrained a.pth would not be loaded, as the weights are those of the' in text
        start = f'tools/train.py CONFIG --work-dir {tmp_path}'
        assert commands == [
            f'{start}/none --resume {tmp_path}/none/iter_8.pth',
            f'{start}/none_new',
        ]

        train(tmp_path / 'a', **pretrained('a.pth'))
        assert train(tmp_path / 'a', **pretrained('a.pth')).iter == 8
        assert train(tmp_path / 'a').iter == 8
        _, commands = self.refusal(tmp_path / 'a', **pretrained('b.pth'))
        assert commands[0] == f'{start}/a --resume {tmp_path}/a/iter_8.pth --pretrained a.pth'

    def test_another_loop(self, tmp_path):
        train(tmp_path, schedule=None)
        text, _ = self.refusal(tmp_path, length=16, schedule=None, **ITERATIONS)
        assert "loop is mmmask.ResumableTrainLoop, but train_cfg.type='mmmask.ResumableIter" in text

    def test_weights_alone(self, tmp_path):
        train(tmp_path)
        path = tmp_path / 'weights.pth'
        torch.save(open_checkpoint(tmp_path / 'iter_8.pth')['state_dict'], path)
        text, commands = self.refusal(tmp_path, load_from=str(path))
        assert (
            'it contains weights but no state of a training (optimizer, message_hub, meta.epoch'
            in text
        )
        assert commands[0].endswith(f'--work-dir {tmp_path} --resume')
        assert commands[1].endswith(f'--cfg-options load_from={path}')

    def test_a_schedule_with_a_number_of_steps_of_its_own(self, tmp_path):
        """OneCycleLR would end the run with an error at its last step."""
        schedule = dict(type='OneCycleLR', eta_max=0.1, total_steps=8, by_epoch=False)
        train(tmp_path, schedule=schedule)
        text, commands = self.refusal(tmp_path, length=4, schedule=schedule)
        assert 'OneCycleLR is planned for total_steps=8, but the run has 16: set its' in text
        assert commands[0].endswith('--cfg-options train_cfg.max_epochs=2')
        longer = dict(schedule, total_steps=16)
        assert sorted(train(tmp_path, length=4, schedule=longer).steps) == list(range(8, 16))

    def test_another_number_of_repeats_within_an_epoch(self, tmp_path):
        train(tmp_path, **{'train_dataloader.dataset.repeats': 2})
        self.at(tmp_path, 6)
        text, commands = self.refusal(tmp_path, **{'train_dataloader.dataset.repeats': 4})
        assert "'repeats': 2" in text and "'repeats': 4" in text
        assert commands[0].endswith('--cfg-options train_dataloader.dataset.repeats=2')

    def test_a_schedule_that_follows_validations(self, tmp_path):
        schedule = dict(type='ReduceOnPlateauLR', monitor='loss')
        train(tmp_path, schedule=schedule)
        assert train(tmp_path, schedule=schedule).steps == {}
        text, commands = self.refusal(tmp_path, length=4, schedule=schedule)
        assert (
            'ReduceOnPlateauLR follows validations and cannot be planned for a new config' in text
        )
        assert commands[0].endswith('--cfg-options train_cfg.max_epochs=2')


def test_both_commands_work(tmp_path, monkeypatch, capsys):
    """The launcher refuses another batch size within an epoch. The commands it names are run."""
    work_dir = tmp_path / 'run'

    def run(*arguments):
        monkeypatch.setattr(sys, 'argv', [str(argument) for argument in arguments])
        runpy.run_path(str(ROOT / 'tools/train.py'), run_name='__main__')

    options = [
        *('train_dataloader.dataset.indices=[0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15]',),
        *('train_dataloader.num_workers=0', 'custom_hooks=None', 'train_cfg.max_epochs=2'),
        *('param_scheduler.warmup_epochs=1', 'model.backbone.arch.num_layers=1'),
        *('default_hooks.checkpoint.interval=2', 'default_hooks.checkpoint.by_epoch=False'),
    ]
    start = ['tools/train.py', DIGITS, '--work-dir', work_dir, '--cfg-options', *options]
    run(*start, 'train_dataloader.batch_size=4')
    with pytest.raises(SystemExit) as left:
        run(*start, 'train_dataloader.batch_size=8', '--resume', work_dir / 'iter_6.pth')
    commands = [shlex.split(line) for line in str(left.value).split('\n')[2::2]]
    for command, batch_size, last in zip(commands, (4, 8), (8, 4), strict=True):
        run(*command)
        checkpoint = open_checkpoint((work_dir / 'last_checkpoint').read_text())
        assert checkpoint['meta']['iter'] == last
        assert checkpoint['resume']['loader']['batch_size'] == batch_size
    capsys.readouterr()


def test_commands_of_launchers(monkeypatch):
    """The launcher that the command names replaces the options of the former launcher."""
    arguments = '--launcher pytorch C.py --work-dir w --resume x.pth --seed 3 --cfg-options a.b=1'
    monkeypatch.setattr(sys, 'argv', ['tools/train.py', *arguments.split()])

    monkeypatch.chdir(ROOT)
    expected = 'C.py', ['--seed', '3', '--cfg-options', 'a.b=1']
    assert resuming.read_command_line(str(ROOT / 'C.py')) == expected

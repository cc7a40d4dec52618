"""A run that is stopped within an epoch and resumed equals a run that was never stopped.

The tests run every config on digits in configs/demo, and therefore every method, with one and with
two processes. They compare weights, momentum copies, optimizer, schedules, random states, crop
boxes and every line of the log bit for bit.
"""

import copy
import os
import random
import shutil
import signal

import numpy as np
import pytest
import torch
from conftest import DEMOS, ROOT, pack_images
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import DATA_SAMPLERS, RUNNERS
from mmengine.runner import Runner
from PIL import Image
from torch._dynamo.utils import counters
from torch.utils.data import BatchSampler

import mmmask.engine  # noqa: F401  registers everything
from mmmask.apis.train import load_config, set_defaults
from mmmask.engine.runner import BriefRunner
from mmmask.lab.digits_on_photographs import make_digits_on_photographs
from mmmask.lab.soak import compare, read_run
from mmmask.registry import HOOKS

# Every method has a config on digits.
METHODS = [path for path in DEMOS if path.stem.endswith('digits')]
WATCHERS = {'mmmask.OnlineKNNHook', 'mmmask.ReconstructionHook'}


@HOOKS.register_module(force=True)
class SignalHook(Hook):
    """Send SIGUSR1 to its own process at the start of an iteration."""

    def __init__(self, iteration):
        self.iteration = iteration

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter + 1 == self.iteration and runner.rank == 0:
            os.kill(os.getpid(), signal.SIGUSR1)


@DATA_SAMPLERS.register_module(force=True)
class ByParity(BatchSampler):
    """Form batches of even or of odd indices, as detectors group images by aspect ratio."""

    def __init__(self, sampler, batch_size):
        super().__init__(sampler, batch_size, drop_last=False)

    def __iter__(self):
        groups = [], []
        for draw in self.sampler:
            group = groups[draw.index % 2]
            group.append(draw)
            if len(group) == self.batch_size:
                yield group[:]
                group.clear()


@pytest.fixture(scope='module')
def photographs_folder(tmp_path_factory):
    """A folder with 16 smooth images of 80 px."""
    folder, generator = tmp_path_factory.mktemp('photographs'), np.random.default_rng(0)
    for number in range(16):
        blobs = Image.fromarray(generator.integers(0, 256, (10, 10, 3), dtype=np.uint8))
        blobs.resize((80, 80), Image.Resampling.BICUBIC).save(folder / f'{number:02}.png')
    return folder


def read_from(value, folder):
    """Make every data set in a config read the images of a folder."""
    if isinstance(value, list | tuple):
        for item in value:
            read_from(item, folder)
    if isinstance(value, dict):
        for item in value.values():
            read_from(item, folder)
        if value.get('type') in ('mmmask.Digits', 'mmmask.ImageFolder'):
            pipeline = value.get('pipeline', [])
            value.clear()
            value.update(type='mmmask.ImageFolder', source=str(folder), pipeline=pipeline)


def train(path, folder, work_dir, stop_at=None, batch_size=4, workers=0, **options):
    """Train two epochs of four iterations, resuming from the work directory if possible."""
    cfg = Config.fromfile(path)
    read_from(cfg._cfg_dict, folder)
    cfg.train_dataloader.update(batch_size=batch_size, num_workers=workers)
    schedules = cfg.param_scheduler
    for schedule in schedules if isinstance(schedules, list) else [schedules]:
        if 'warmup_epochs' in schedule:
            schedule.warmup_epochs = 0.5
    cfg.train_cfg.max_epochs = 2
    cfg.default_hooks.logger.interval = 1
    cfg.default_hooks.checkpoint.update(interval=1, max_keep_ckpts=2)
    cfg.custom_hooks = [hook for hook in cfg.custom_hooks or [] if hook.type not in WATCHERS]
    if stop_at:
        cfg.custom_hooks.append(dict(type='mmmask.SignalHook', iteration=stop_at))
    cfg.visualizer.vis_backends = [dict(type='LocalVisBackend')]
    cfg.work_dir, cfg.resume, cfg.log_level = str(work_dir), True, 'WARNING'
    cfg.experiment_name = f'resume-{random.Random().getrandbits(60)}'
    cfg.merge_from_dict(copy.deepcopy(options))
    set_defaults(cfg)
    runner = RUNNERS.build(cfg) if 'runner_type' in cfg else BriefRunner.from_cfg(cfg)
    if not stop_at:
        runner.train()
        return runner
    with pytest.raises(SystemExit) as left:
        runner.train()
    assert left.value.code == 75
    return runner


@pytest.mark.parametrize('path', METHODS, ids=lambda path: path.stem)
def test_every_method_within_an_epoch(path, photographs_folder, tmp_path):
    train(path, photographs_folder, tmp_path / 'whole')
    train(path, photographs_folder, tmp_path / 'stopped', stop_at=3)
    assert (tmp_path / 'stopped' / 'last_checkpoint').read_text().endswith('iter_3.pth')
    train(path, photographs_folder, tmp_path / 'stopped')
    whole, stopped = read_run(tmp_path / 'whole'), read_run(tmp_path / 'stopped')
    assert compare(whole, stopped, 'stopped') == []
    assert sorted(whole['log']) == list(range(1, 9))


@pytest.mark.skipif(not shutil.which('g++'), reason='compilation needs a C++ compiler')
def test_compiled_blocks(photographs_folder, tmp_path):
    """With --compile on, which compiles the blocks anew in every run."""
    options = TestLoading.small | {
        'custom_hooks.0': dict(type='mmmask.CompileBlocksHook', required=True)
    }
    for name, stop_at in (('whole', None), ('stopped', 3), ('stopped', None)):
        torch.compiler.reset()
        counters.clear()
        train(TestLoading.path, photographs_folder, tmp_path / name, stop_at, **options)
        assert counters['stats']['unique_graphs'] == 2  # a block of the encoder and of the decoder
    runs = [read_run(tmp_path / name) for name in ('whole', 'stopped')]
    assert compare(*runs, 'stopped') == []
    assert sorted(runs[0]['log']) == list(range(1, 9))


def run_pair(rank, folder, tmp_path):
    torch.set_num_threads(1)  # the threads of the parent process do not survive the fork
    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{tmp_path}/rendezvous', rank=rank, world_size=2
    )
    os.environ['LOCAL_RANK'] = str(rank)
    for path in METHODS:
        for name, stop_at in (('whole', None), ('stopped', 2), ('stopped', None)):
            work_dir = tmp_path / path.stem / name
            train(path, folder, work_dir, stop_at, batch_size=2, launcher='pytorch')


@pytest.mark.timeout(2400)  # three trainings of every method
def test_every_method_with_two_processes(photographs_folder, tmp_path):
    """One process receives the signal after iteration 2; both stop after iteration 3."""
    torch.multiprocessing.start_processes(
        run_pair, args=(photographs_folder, tmp_path), nprocs=2, start_method='fork'
    )
    for path in METHODS:
        whole, stopped = (read_run(tmp_path / path.stem / name) for name in ('whole', 'stopped'))
        assert compare(whole, stopped, path.stem) == []
        random_states = whole['checkpoint']['resume']['random']
        assert len(random_states) == 2
        assert not torch.equal(random_states[0]['torch'], random_states[1]['torch'])


class TestLoading:
    """Data loading and checkpoints, which do not depend on the method."""

    path = ROOT / 'configs' / 'demo' / 'mae_vit-tiny_digits.py'
    small = {
        'model.backbone.arch.num_layers': 1,
        'model.neck.depth': 1,
    }

    def test_workers_do_not_matter(self, photographs_folder, tmp_path):
        train(self.path, photographs_folder, tmp_path / 'none', **self.small)
        train(self.path, photographs_folder, tmp_path / 'some', stop_at=6, workers=2, **self.small)
        train(self.path, photographs_folder, tmp_path / 'some', workers=1, **self.small)
        runs = [read_run(tmp_path / name) for name in ('none', 'some')]
        assert compare(*runs, 'some') == []

    @pytest.mark.parametrize('option', [dict(repeats=3), dict(cache_side=48)], ids=str)
    def test_repeated_and_cached_images(self, photographs_folder, tmp_path, monkeypatch, option):
        """Three samples of each image in batches of four; decoded copies in a cache."""
        monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
        crop = dict(type='mmmask.RandomResizedCrop', scale=64, flip_prob=0.5)
        options = self.small | {
            'train_dataloader.dataset.pipeline': [crop, dict(type='mmpretrain.PackInputs')],
            **{f'train_dataloader.dataset.{key}': value for key, value in option.items()},
        }
        train(self.path, photographs_folder, tmp_path / 'whole', **options)
        train(self.path, photographs_folder, tmp_path / 'stopped', stop_at=3, workers=2, **options)
        train(self.path, photographs_folder, tmp_path / 'stopped', **options)
        runs = [read_run(tmp_path / name) for name in ('whole', 'stopped')]
        assert compare(*runs, 'stopped') == []

    @pytest.mark.parametrize('kind', ['tars', 'tables'])
    def test_shards(self, photographs_folder, tmp_path, kind):
        """A run on shards that is stopped and resumed equals one on the folder of their images."""
        shards = pack_images(photographs_folder, tmp_path / 'shards', kind)
        train(self.path, photographs_folder, tmp_path / 'whole', **self.small)
        train(self.path, shards, tmp_path / 'stopped', stop_at=3, workers=2, **self.small)
        train(self.path, shards, tmp_path / 'stopped', **self.small)
        runs = [read_run(tmp_path / name) for name in ('whole', 'stopped')]
        assert compare(*runs, 'stopped') == []

    def test_accumulated_gradients(self, photographs_folder, tmp_path):
        """An optimizer step takes three iterations and an epoch four.

        The first epoch ends within a step, so its checkpoint is delayed until iteration 6.
        """
        options = self.small | {'optim_wrapper.accumulative_counts': 3}
        train(self.path, photographs_folder, tmp_path / 'whole', **options)
        train(self.path, photographs_folder, tmp_path / 'stopped', stop_at=7, **options)
        meta = torch.load(tmp_path / 'stopped' / 'epoch_1.pth', weights_only=False)['meta']
        assert (meta['epoch'], meta['iter']) == (1, 6)
        (tmp_path / 'stopped' / 'last_checkpoint').write_text(
            str(tmp_path / 'stopped' / 'epoch_1.pth')
        )
        train(self.path, photographs_folder, tmp_path / 'stopped', **options)
        runs = [read_run(tmp_path / name) for name in ('whole', 'stopped')]
        assert compare(*runs, 'stopped') == []

    @pytest.mark.parametrize('batches', [None, dict(type='ByParity')], ids=['', 'grouped'])
    def test_training_by_iterations(self, photographs_folder, tmp_path, batches):
        """The run is stopped in the second pass over the data while batches are prefetched."""
        loop, schedule = 'mmmask.ResumableIterTrainLoop', dict(by_epoch=False, end=8)
        options = self.small | {
            'train_cfg': dict(_delete_=True, type=loop, max_iters=8),
            'train_dataloader.sampler.type': 'mmmask.ResumableInfiniteSampler',
            'train_dataloader.batch_sampler': batches,
            'train_dataloader.drop_last': False,
            'param_scheduler': dict(_delete_=True, type='LinearLR', **schedule),
            'default_hooks.checkpoint': dict(by_epoch=False, interval=5),
            'log_processor': dict(by_epoch=False),
        }
        train(self.path, photographs_folder, tmp_path / 'whole', workers=2, **options)
        train(self.path, photographs_folder, tmp_path / 'stopped', stop_at=6, workers=1, **options)
        train(self.path, photographs_folder, tmp_path / 'stopped', **options)
        whole, stopped = (read_run(tmp_path / name) for name in ('whole', 'stopped'))
        assert compare(whole, stopped, 'stopped') == []
        assert sorted(whole['log']) == list(range(1, 9))
        options['train_dataloader.sampler.type'] = 'mmmask.ResumableSampler'
        with pytest.raises(ValueError, match="set it to 'mmmask.ResumableInfiniteSampler'"):
            train(self.path, photographs_folder, tmp_path / 'epochs', **options)

    def test_images_of_finished_iterations_are_skipped_without_being_read(
        self, photographs_folder, tmp_path, monkeypatch
    ):
        from mmmask.datasets import image_folder

        train(self.path, photographs_folder, tmp_path, stop_at=3, **self.small)
        read = []
        original = image_folder.read_file
        monkeypatch.setattr(
            image_folder, 'read_file', lambda *names: (read.append(names[-1]), original(*names))[1]
        )
        train(self.path, photographs_folder, tmp_path, **self.small)
        # The last iteration of the first epoch, and the whole second epoch.
        assert len(read) == 4 + 16

    def test_another_batch_size(self, photographs_folder, tmp_path):
        """A new batch size is accepted at the end of an epoch and refused within one."""
        train(self.path, photographs_folder, tmp_path / 'middle', stop_at=3, **self.small)
        with pytest.raises(ValueError, match="middle of an epoch with .*'batch_size': 4.* 8"):
            train(self.path, photographs_folder, tmp_path / 'middle', batch_size=8, **self.small)
        train(self.path, photographs_folder, tmp_path / 'end', stop_at=6, **self.small)
        pointer = tmp_path / 'end' / 'last_checkpoint'
        pointer.write_text(str(tmp_path / 'end' / 'epoch_1.pth'))
        runner = train(self.path, photographs_folder, tmp_path / 'end', batch_size=8, **self.small)
        assert (runner.epoch, runner.iter) == (2, 4)

    def test_newest_checkpoints_are_kept(self, photographs_folder, tmp_path):
        train(self.path, photographs_folder, tmp_path, stop_at=2, **self.small)
        (tmp_path / '.epoch_9.pth.1.part').write_bytes(b'left by a process that was killed')
        (tmp_path / 'epoch_77.pth').write_bytes(b"another run's")
        train(self.path, photographs_folder, tmp_path, **self.small)
        names = {path.name for path in tmp_path.glob('*.pth*')} | set(os.listdir(tmp_path)) & {
            '.epoch_9.pth.1.part'
        }
        assert names == {
            *('epoch_1.pth', 'epoch_1.pth.sha256', 'epoch_2.pth', 'epoch_2.pth.sha256'),
            'epoch_77.pth',
        }

    def test_a_torn_file_named_on_the_command_line(self, photographs_folder, tmp_path):
        train(self.path, photographs_folder, tmp_path, stop_at=2, **self.small)
        path = tmp_path / 'iter_2.pth'
        path.write_bytes(path.read_bytes()[:-1])
        with pytest.raises(
            ValueError, match='iter_2.pth is not a checkpoint to resume from: its c'
        ):
            train(self.path, photographs_folder, tmp_path, load_from=str(path), **self.small)


@pytest.mark.parametrize('name', ['mask-rcnn_resnet-18_fpn', 'upernet_vit-tiny-p8'])
def test_detectors_and_segmentors(name, tmp_path):
    """The run is stopped at iteration 4 of 6, after a validation, and resumed from there."""
    folder = ROOT / 'configs' / 'downstream' / 'digits_on_photographs'
    make_digits_on_photographs(tmp_path / 'data', 12, 2, 64 if 'mask-rcnn' in name else 128, 0)

    def cut_short(work_dir, *hooks):
        cfg = load_config(folder / f'{name}_1xb4-400i_digits-on-photographs.py', resume='auto')
        for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
            loader.dataset.data_root = str(tmp_path / 'data')
        for evaluator in (cfg.val_evaluator, cfg.test_evaluator):
            if 'ann_file' in evaluator:
                evaluator.ann_file = str(tmp_path / 'data/annotations/instances_val.json')
        cfg.train_cfg.update(max_iters=6, val_interval=3)
        cfg.default_hooks.logger.interval = 1
        cfg.default_hooks.checkpoint.update(interval=6, save_best=None)
        cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), *hooks]
        cfg.work_dir, cfg.log_level = str(work_dir), 'WARNING'
        cfg.experiment_name = f'resume-{random.Random().getrandbits(60)}'
        Runner.from_cfg(cfg).train()

    cut_short(tmp_path / 'whole')
    with pytest.raises(SystemExit, match='75'):
        cut_short(tmp_path / 'stopped', dict(type='mmmask.SignalHook', iteration=4))
    cut_short(tmp_path / 'stopped')
    whole, stopped = (read_run(tmp_path / run) for run in ('whole', 'stopped'))
    # Validations are logged under the same steps as losses, so their lines are dropped.
    for run in (whole, stopped):
        for step, lines in run['log'].items():
            run['log'][step] = [line for line in lines if 'loss' in line]
    assert compare(whole, stopped, 'stopped') == []
    assert sorted(whole['log']) == list(range(1, 7))
    assert all(len(lines) == 1 for lines in stopped['log'].values())

import json
import os
import random
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.multiprocessing
from mmengine.config import Config
from mmengine.dataset import default_collate
from mmengine.hooks import Hook
from mmengine.runner import Runner
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import mmmask.models  # noqa: F401  enters everything into the registry
from mmmask.datasets import Digits
from mmmask.engine.hooks import NonFiniteLossHook
from mmmask.evaluation import accuracy, knn_classify
from mmmask.pictures import reconstruct_and_draw, sample_batch
from mmmask.random_state import preserve_random_state
from mmmask.registry import HOOKS

PIPELINE = [dict(type='mmpretrain.Resize', scale=32), dict(type='mmpretrain.PackInputs')]
BANK = dict(type='mmmask.Digits', split='train', indices=range(0, 4000, 25), pipeline=PIPELINE)
QUERY = dict(type='mmmask.Digits', split='val', indices=range(0, 1000, 20), pipeline=PIPELINE)
TRAIN = dict(
    type='mmmask.Digits',
    split='train',
    indices=range(0, 4000, 200),
    pipeline=[
        dict(type='mmpretrain.RandomResizedCrop', scale=32, crop_ratio_range=(0.6, 1.0)),
        dict(type='mmpretrain.PackInputs'),
    ],
)
KNN = dict(type='mmmask.OnlineKNNHook', bank=BANK, query=QUERY, k=5, batch_size=32)
PICTURES = dict(type='mmmask.ReconstructionHook', dataset=QUERY, num_images=2)
MODEL = dict(
    type='mmmask.LocalMIM',
    data_preprocessor=dict(
        type='mmpretrain.SelfSupDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
    ),
    backbone=dict(
        type='mmmask.MaskedVisionTransformer',
        arch=dict(embed_dims=32, num_layers=2, num_heads=2, feedforward_channels=64),
        img_size=32,
        patch_size=8,
        out_indices=[0, 1],
        final_norm=False,
        drop_rate=0.1,
    ),
    masking=dict(type='mmmask.RandomMask', ratio=0.75),
    neck=dict(
        type='mmmask.MultiScaleDecoder',
        decoders=[
            dict(
                type='mmmask.ScaleDecoder',
                in_channels=32,
                out_channels=27,
                embed_dims=32,
                num_heads=2,
                scale=scale,
            )
            for scale in (2, 1)
        ],
    ),
    target_generator=dict(type='mmmask.HOGTarget', cell_sizes=(4, 8)),
    head=dict(type='mmmask.MaskedRegressionHead'),
)


def train(work_dir, *hooks, epochs=2, launcher='none', optim_wrapper=None, **kwargs):
    cfg = dict(
        model=MODEL,
        work_dir=str(work_dir),
        train_dataloader=dict(
            batch_size=5,
            num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=True),
            collate_fn=dict(type='default_collate'),
            dataset=TRAIN,
        ),
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        optim_wrapper=optim_wrapper or dict(optimizer=dict(type='AdamW', lr=1e-3)),
        default_hooks=dict(logger=dict(type='LoggerHook', interval=1), checkpoint=None),
        custom_hooks=list(hooks),
        visualizer=dict(
            type='Visualizer',
            vis_backends=[dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')],
        ),
        randomness=dict(seed=0),
        experiment_name=f'hooks-{Path(work_dir).name}-{random.getrandbits(40)}',
        default_scope='mmmask',
        launcher=launcher,
        log_level='WARNING',
        **kwargs,
    )
    runner = Runner.from_cfg(Config(cfg))
    runner.train()
    return runner


def scalars(work_dir, name):
    """{step: value} of one curve that LocalVisBackend wrote."""
    (path,) = Path(work_dir).glob('*/vis_data/scalars.json')
    lines = map(json.loads, path.read_text().splitlines())
    return {line['step']: line[name] for line in lines if name in line}


class TestPreserveRandomState:
    def seed(self, seed):
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002  the state that transforms sample from
        torch.manual_seed(seed)

    def draw(self):
        return random.random(), np.random.rand(), torch.rand(1).item()  # noqa: NPY002

    def test_all_three(self):
        self.seed(1)
        expected = self.draw()
        self.seed(1)
        with preserve_random_state():
            self.draw()
        with pytest.raises(KeyError), preserve_random_state():
            self.seed(5)
            raise KeyError
        assert self.draw() == expected


def test_watching_does_not_change_the_training(tmp_path):
    plain = train(tmp_path / 'plain')
    watched = train(
        tmp_path / 'watched',
        dict(KNN, by_epoch=False, interval=3),
        PICTURES,
        NON_FINITE,
    )
    assert scalars(tmp_path / 'plain', 'loss') == scalars(tmp_path / 'watched', 'loss')
    for name, value in plain.model.state_dict().items():
        assert torch.equal(value, watched.model.state_dict()[name]), name
    assert watched.model.training


class TestOnlineKNN:
    def reference(self, model):
        """Top-1 of the images taken one by one, without loaders, hooks or shards."""
        features = {}
        for name, cfg in dict(bank=BANK, query=QUERY).items():
            dataset = Digits(**{key: value for key, value in cfg.items() if key != 'type'})
            model.eval()
            with torch.no_grad():
                taps = [
                    model.backbone(model.data_preprocessor(default_collate([x]))['inputs'])[-1]
                    for x in dataset
                ]
            labels = torch.tensor([x['data_samples'].gt_label.item() for x in dataset])
            features[name] = torch.cat([tap[:, 1:].mean(1) for tap in taps]), labels
        (bank, bank_labels), (query, labels) = features.values()
        return accuracy(knn_classify(bank, bank_labels, query, k=5), labels)

    def test_logs_before_and_after_epochs(self, tmp_path):
        runner = train(tmp_path, dict(KNN, interval=2), epochs=3)
        curve = scalars(tmp_path, 'knn_top1')
        assert list(curve) == [0, 8]  # four iterations an epoch; evaluated before and after two
        history = runner.message_hub.get_scalar('knn_top1').data
        assert history[0].tolist() == pytest.approx(list(curve.values()))
        final = train(tmp_path / 'again', dict(KNN, interval=3), epochs=3)
        assert scalars(tmp_path / 'again', 'knn_top1')[12] == pytest.approx(
            self.reference(final.model)
        )

    def test_by_iteration(self, tmp_path):
        train(tmp_path, dict(KNN, by_epoch=False, interval=3))
        assert list(scalars(tmp_path, 'knn_top1')) == [0, 3, 6]

    def test_loaded_backbone_is_the_baseline(self, tmp_path):
        """The hook runs after hooks that load weights, in any order of the config."""
        trained = train(tmp_path / 'first', dict(KNN, interval=3), epochs=3)
        torch.save(dict(state_dict=trained.model.state_dict()), tmp_path / 'checkpoint.pth')
        load = dict(type='mmmask.LoadBackboneHook', checkpoint=str(tmp_path / 'checkpoint.pth'))
        train(tmp_path / 'second', dict(KNN, interval=3), load, epochs=1)
        first, second = (scalars(tmp_path / name, 'knn_top1') for name in ('first', 'second'))
        assert second[0] == first[12] != first[0]

    def test_needs_labels(self, tmp_path):
        for number in range(6):
            Image.new('RGB', (8, 8), (number, 0, 0)).save(tmp_path / f'{number}.png')
        bank = dict(type='mmmask.ImageFolder', source=str(tmp_path), pipeline=PIPELINE)
        with pytest.raises(ValueError, match='Hook.bank have no labels: set with_label=True'):
            train(tmp_path / 'run', dict(KNN, bank=bank))

    def test_two_processes_agree_with_one(self, tmp_path):
        """Shards of 160 and of 49 images give the same number. Those of 49 are uneven."""
        hook = dict(KNN, query=dict(QUERY, indices=range(0, 980, 20)))
        torch.multiprocessing.start_processes(
            _train_shard, args=(tmp_path, hook), nprocs=2, start_method='fork'
        )
        train(tmp_path / 'one', hook, epochs=1)
        two, one = (scalars(tmp_path / name, 'knn_top1') for name in ('two', 'one'))
        assert two[0] == one[0]


def _train_shard(rank, tmp_path, hook):
    torch.set_num_threads(1)  # the threads of the parent do not survive the fork
    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{tmp_path}/rendezvous', rank=rank, world_size=2
    )
    os.environ['LOCAL_RANK'] = str(rank)  # mmengine asks for it, even without a GPU
    wrapper = dict(type='MMDistributedDataParallel', device_ids=None)
    train(tmp_path / 'two', hook, epochs=1, launcher='pytorch', model_wrapper_cfg=wrapper)


class TestReconstruction:
    def test_files_and_tensorboard(self, tmp_path):
        runner = train(tmp_path, dict(PICTURES, interval=2), epochs=3)
        files = sorted(tmp_path.glob('*/vis_data/vis_image/*.png'))
        assert [path.stem for path in files] == ['reconstruction_12', 'reconstruction_8']

        dataset = Digits('val', indices=range(0, 1000, 20), pipeline=PIPELINE)
        picture = reconstruct_and_draw(runner.model, sample_batch(dataset, 2), mask_seed=0)
        np.testing.assert_array_equal(np.asarray(Image.open(files[0])), picture)

        (events,) = tmp_path.glob('*/vis_data/events*')
        accumulator = EventAccumulator(str(events)).Reload()
        assert [event.step for event in accumulator.Images('reconstruction')] == [8, 12]

    def test_masks_repeat_and_follow_the_seed(self, tmp_path):
        model = train(tmp_path, epochs=1).model
        batch = sample_batch(Digits('val', pipeline=PIPELINE), 2)
        first = reconstruct_and_draw(model, batch, mask_seed=0)
        torch.manual_seed(77)
        np.testing.assert_array_equal(reconstruct_and_draw(model, batch, mask_seed=0), first)
        assert (reconstruct_and_draw(model, batch, mask_seed=1) != first).any()

    def test_images_come_from_the_whole_set(self):
        batch = sample_batch(Digits('val', pipeline=PIPELINE), 10)
        assert [sample.gt_label.item() for sample in batch['data_samples']] == list(range(10))
        assert len(sample_batch(Digits('val', indices=3, pipeline=PIPELINE), 8)['inputs']) == 3


NON_FINITE = dict(type='mmmask.NonFiniteLossHook')


@HOOKS.register_module()
class RecordHook(Hook):
    """The parameters after each iteration."""

    states = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        named = runner.model.named_parameters()
        self.states.append({name: value.detach().clone() for name, value in named})


class Poison(torch.nn.Module):
    """A target generator that fails at some calls."""

    def __init__(self, inner, broken, value):
        super().__init__()
        self.inner, self.broken, self.value, self.calls = inner, broken, value, 0

    def forward(self, images):
        self.calls += 1
        target = self.inner(images)
        return tuple(t * self.value for t in target) if self.calls in self.broken else target


class TestNonFiniteLoss:
    @pytest.fixture
    def poison(self, monkeypatch):
        """Let the losses of some iterations be NaN or infinite."""

        def at(calls, value):
            calls = [calls] if isinstance(calls, int) else calls
            build = Runner.build_model

            def build_poisoned(runner, model):
                model = build(runner, model)
                model.target_generator = Poison(model.target_generator, calls, value)
                return model

            monkeypatch.setattr(Runner, 'build_model', build_poisoned)

        return at

    @pytest.mark.parametrize('fused', [True, False])
    @pytest.mark.parametrize('value', [float('nan'), float('inf')])
    def test_skips_and_goes_on(self, tmp_path, poison, value, fused):
        """The run is that of the same batches without the third: weights, moments and counts."""
        optim_wrapper = dict(optimizer=dict(type='AdamW', lr=1e-3, fused=fused))
        poison(3, value)
        record = dict(type='mmmask.RecordHook')
        RecordHook.states.clear()
        runner = train(tmp_path, NON_FINITE, record, epochs=1, optim_wrapper=optim_wrapper)
        _, second, third, fourth = RecordHook.states
        for name, tensor in second.items():
            assert torch.equal(third[name], tensor), name
        assert any(not torch.equal(fourth[name], tensor) for name, tensor in third.items())
        assert {int(s['step']) for s in runner.optim_wrapper.optimizer.state.values()} == {3}
        assert not np.isfinite(runner.message_hub.get_scalar('train/loss').data[0][2])
        assert runner.message_hub.get_scalar('train/skipped_steps').data[0].tolist() == [1]

    def test_stops_after_some_in_a_row(self, tmp_path, poison):
        poison([2, 4, 5, 7, 8, 9], float('nan'))
        path = tmp_path / 'nonfinite' / 'iter_9.pth'
        message = (
            rf'iteration 9: loss=nan, .*{path}.* 3 consecutive .* .6 in total.*lower the learning'
        )
        with pytest.raises(FloatingPointError, match=message):
            train(tmp_path, dict(NON_FINITE, max_in_a_row=3, max_saved=9), epochs=3)
        assert len(list(path.parent.iterdir())) == 6
        saved = torch.load(path, weights_only=True)
        assert saved['iteration'] == 9
        assert np.isnan(saved['losses']['loss'])
        assert saved['batch']['inputs'].shape == (5, 3, 32, 32)
        assert saved['batch']['inputs'].dtype == torch.uint8
        assert all(0 <= sample['sample_idx'] < 20 for sample in saved['batch']['data_samples'])
        assert 'backbone.cls_token' in saved['model']
        assert saved['optimizer']['param_groups'][0]['lr'] == 1e-3
        assert sorted(scalars(tmp_path, 'loss')) == list(range(1, 9))  # the last is not logged

    def test_no_more_files_than_asked_for(self, tmp_path, poison):
        poison([2, 3, 4], float('nan'))
        train(tmp_path, dict(NON_FINITE, max_saved=2))
        names = sorted(path.name for path in (tmp_path / 'nonfinite').iterdir())
        assert names == ['iter_2.pth', 'iter_3.pth']

    def test_what_no_skipping_can_mend_stops_the_run(self, tmp_path, poison):
        poison(3, float('nan'))
        build = Runner.build_model

        def with_statistics(runner, model):
            model = build(runner, model)
            model.register_buffer('running_mean', torch.tensor(float('nan')))
            return model

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Runner, 'build_model', with_statistics)
            message = r"buffers \['running_mean'\] are not finite.*--resume"
            with pytest.raises(FloatingPointError, match=message):
                train(tmp_path, NON_FINITE)

    def test_the_batch_is_the_offending_one(self, tmp_path, poison):
        poison(6, float('nan'))
        train(tmp_path / 'first', NON_FINITE)
        saved = torch.load(tmp_path / 'first' / 'nonfinite' / 'iter_6.pth', weights_only=True)
        seen = []
        original = NonFiniteLossHook.after_train_iter

        def record(hook, runner, batch_idx, data_batch=None, outputs=None):
            seen.append(data_batch['inputs'])
            original(hook, runner, batch_idx, data_batch, outputs)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(NonFiniteLossHook, 'after_train_iter', record)
            train(tmp_path / 'second', NON_FINITE)
        assert len(seen) == 8 and torch.equal(seen[5], saved['batch']['inputs'])

    def test_counts_survive_a_checkpoint(self):
        hook, checkpoint = NonFiniteLossHook(), {}
        hook.skipped, hook.in_a_row = 7, 2
        hook.before_save_checkpoint(None, checkpoint)
        other = NonFiniteLossHook()
        other.after_load_checkpoint(None, checkpoint)
        assert (other.skipped, other.in_a_row) == (7, 2)

    def test_a_lagging_device(self, tmp_path, monkeypatch):
        """Losses that arrive late are checked in order and before any checkpoint."""

        class Arrival:
            def __init__(self):
                self.is_here = False

            def query(self):
                return self.is_here

            def synchronize(self):
                self.is_here = True

        stopped = []
        hook = NonFiniteLossHook(interval=3)
        monkeypatch.setattr(
            hook, '_report', lambda runner, step, losses: stopped.append((step.iteration, losses))
        )

        class Run:
            iter = 0

        losses = [1.0, 2.0, float('nan'), 4.0, 5.0, 6.0, float('inf')]
        arrivals = []
        for Run.iter, value in enumerate(losses):
            monkeypatch.setattr(hook, '_check', lambda *args: None)
            hook.before_train_iter(Run, Run.iter)
            hook.after_train_iter(Run, Run.iter, {}, dict(loss=torch.tensor(value), note='x'))
            arrivals.append(Arrival())
            hook._pending[-1] = hook._pending[-1]._replace(arrival=arrivals[-1])
            monkeypatch.undo()
            monkeypatch.setattr(
                hook,
                '_report',
                lambda runner, step, losses: stopped.append((step.iteration, losses)),
            )
            hook._check(Run, hook.interval)
            assert len(hook._pending) <= 3
        assert [arrival.is_here for arrival in arrivals] == [True] * 4 + [False] * 3
        assert [iteration for iteration, _ in stopped] == [3]
        hook.before_save_checkpoint(Run, {})
        assert [iteration for iteration, _ in stopped] == [3, 7] and not hook._pending

    def test_finite_losses_pass(self, tmp_path):
        train(tmp_path, NON_FINITE)
        assert not (tmp_path / 'nonfinite').exists()

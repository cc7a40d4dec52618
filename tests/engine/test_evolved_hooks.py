"""Progress and momentum copies in real trainings of a tiny model (16 patches, two blocks)."""

from math import log2

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.models import VisionTransformer

import mmmask.models  # noqa: F401  enters everything into the registry
from mmmask.engine.hooks.mask_statistics import describe_masks
from mmmask.registry import MODELS

ARCH = dict(embed_dims=24, num_layers=2, num_heads=2, feedforward_channels=48)
MODEL = dict(
    type='mmmask.EvolvedMIM',
    data_preprocessor=dict(type='mmpretrain.SelfSupDataPreprocessor', mean=[128], std=[64]),
    backbone=dict(type='mmmask.MaskedVisionTransformer', arch=ARCH, img_size=32, patch_size=8),
    masking=dict(type='mmmask.EvolvedHierarchyMask', final_nodes=4),
    parser=dict(type='mmmask.EncoderParser', momentum=0.9),
    neck=dict(
        type='mmmask.TokenDecoder',
        in_channels=24,
        out_channels=192,
        embed_dims=24,
        depth=1,
        num_heads=2,
    ),
    target_generator=dict(type='mmmask.PixelTarget', patch_size=8, normalize=False),
    head=dict(type='mmmask.MaskedRegressionHead'),
)
DATASET = dict(
    type='mmmask.Digits',
    split='train',
    indices=range(0, 4000, 250),
    pipeline=[dict(type='mmpretrain.Resize', scale=32), dict(type='mmpretrain.PackInputs')],
)
MOMENTUM, PROGRESS = dict(type='mmmask.MomentumUpdateHook'), dict(type='mmmask.ProgressHook')
STATISTICS = dict(type='mmmask.MaskStatisticsHook')


class Watch(Hook):
    """Record the model after each iteration and at the start of each epoch."""

    priority = 'VERY_LOW'

    def __init__(self):
        self.progress, self.online, self.average, self.losses, self.starts = [], [], [], [], []

    def before_train_epoch(self, runner):
        self.starts.append((runner.model.masking.progress, copy_of(runner.model).clone()))

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.progress.append(runner.model.masking.progress)
        self.online.append(runner.model.backbone.cls_token.detach().clone())
        self.average.append(copy_of(runner.model).clone())
        self.losses.append(outputs['loss'].item())


def copy_of(model):
    return model.parser.encoder.cls_token


def train(work_dir, *hooks, epochs=3, train_cfg=None, model=None, accumulate=1, **kwargs):
    cfg = dict(
        model=MODEL | (model or {}),
        work_dir=str(work_dir),
        train_dataloader=dict(
            batch_size=4,
            num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=True),
            collate_fn=dict(type='default_collate'),
            dataset=DATASET,
        ),
        train_cfg=train_cfg or dict(by_epoch=True, max_epochs=epochs),
        optim_wrapper=dict(
            type='OptimWrapper',
            optimizer=dict(type='AdamW', lr=5e-3),
            accumulative_counts=accumulate,
        ),
        default_hooks=dict(logger=dict(type='LoggerHook', interval=1), checkpoint=None),
        default_scope='mmmask',
        randomness=dict(seed=0),
        log_level='WARNING',
        experiment_name=f'{work_dir.name}-{torch.rand(1).item()}',
        **kwargs,
    )
    runner = Runner.from_cfg(Config(cfg))
    watch = Watch()
    for hook in (*hooks, watch):
        runner.register_hook(hook)
    runner.train()
    return runner, watch


def test_the_copy_follows_the_optimizer(tmp_path):
    """The copy starts as the initialised encoder, and each step moves it by a tenth."""
    _, watch = train(tmp_path, MOMENTUM, PROGRESS, epochs=2)
    average = watch.starts[0][1]
    for online, measured in zip(watch.online, watch.average, strict=True):
        average = 0.9 * average + 0.1 * online
        torch.testing.assert_close(measured, average)
    assert not torch.equal(watch.average[-1], watch.online[-1])


def test_accumulated_gradients_count_as_one_step(tmp_path):
    """8 iterations in groups of three: steps after the 3rd, the 6th and the last one."""
    runner, watch = train(tmp_path, MOMENTUM, PROGRESS, epochs=2, accumulate=3)
    average, moved = watch.starts[0][1], []
    for index, measured in enumerate(watch.average):
        if index in (2, 5, 7):
            average = 0.9 * average + 0.1 * watch.online[index]
            moved.append(index)
        torch.testing.assert_close(measured, average)
    assert moved == [2, 5, 7]
    assert runner.model.parser.copy.n_averaged == 1 + 3


def test_the_copy_starts_from_loaded_weights(tmp_path):
    first, _ = train(tmp_path / 'first', MOMENTUM, PROGRESS, epochs=1)
    weights = tmp_path / 'backbone.pth'
    state = {f'backbone.{k}': v + 1 for k, v in first.model.backbone.state_dict().items()}
    torch.save(dict(state_dict=state), weights)
    load = dict(type='mmmask.LoadBackboneHook', checkpoint=str(weights))
    _, watch = train(tmp_path / 'second', MOMENTUM, PROGRESS, load, epochs=1)
    assert torch.equal(watch.starts[0][1], state['backbone.cls_token'])


def test_progress_by_epoch(tmp_path):
    _, watch = train(tmp_path, MOMENTUM, PROGRESS, epochs=3)
    assert watch.progress == [0.0] * 4 + [0.5] * 4 + [1.0] * 4


def test_progress_with_warmup(tmp_path):
    _, watch = train(tmp_path, MOMENTUM, dict(PROGRESS, warmup=2), epochs=4)
    assert watch.progress == [0.0] * 12 + [1.0] * 4


def test_progress_by_iteration(tmp_path):
    loop = dict(type='IterBasedTrainLoop', max_iters=5)
    by_iteration = dict(PROGRESS, by_epoch=False)
    _, watch = train(tmp_path, MOMENTUM, by_iteration, train_cfg=loop)
    assert watch.progress == [0.0, 0.25, 0.5, 0.75, 1.0]
    with pytest.raises(ValueError, match='by_epoch=False'):
        train(tmp_path, MOMENTUM, PROGRESS, train_cfg=loop)


def test_one_epoch_is_random_masking(tmp_path):
    _, watch = train(tmp_path, MOMENTUM, PROGRESS, epochs=1)
    assert watch.progress == [0.0] * 4


def test_a_resumed_training_has_the_same_nodes_and_the_same_copy(tmp_path):
    checkpoint = dict(type='CheckpointHook', interval=1)
    whole, watched = train(tmp_path / 'whole', MOMENTUM, PROGRESS, checkpoint, epochs=4)
    saved = tmp_path / 'whole' / 'epoch_2.pth'
    names = torch.load(saved, weights_only=False)['state_dict']
    assert sum(name.startswith('parser.copy.module.encoder.') for name in names) == len(
        whole.model.backbone.state_dict()
    )
    resumed, again = train(
        tmp_path / 'resumed', MOMENTUM, PROGRESS, epochs=4, load_from=str(saved), resume=True
    )
    assert [start[0] for start in again.starts] == [start[0] for start in watched.starts[2:]]
    assert torch.equal(again.starts[0][1], watched.starts[2][1])
    assert not torch.equal(again.starts[0][1], names['backbone.cls_token'])
    nodes = [run.model.masking.num_nodes(16) for run in (whole, resumed)]
    assert nodes == [4, 4]
    assert resumed.model.parser.copy.n_averaged == whole.model.parser.copy.n_averaged


def test_downstream_networks_ignore_the_copy(tmp_path):
    runner, _ = train(tmp_path, MOMENTUM, PROGRESS, dict(type='CheckpointHook'), epochs=1)
    pretrained = dict(
        type='Pretrained', checkpoint=str(tmp_path / 'epoch_1.pth'), prefix='backbone.'
    )
    plain = VisionTransformer(arch=ARCH, img_size=32, patch_size=8, init_cfg=pretrained)
    plain.init_weights()
    for name, value in plain.state_dict().items():
        assert torch.equal(value, runner.model.backbone.state_dict()[name])


def test_the_log_says_what_the_masks_are_like(tmp_path):
    look = dict(STATISTICS, interval=2, num_images=3)
    runner, _ = train(tmp_path, MOMENTUM, PROGRESS, look, epochs=3)
    history = {
        name: runner.message_hub.get_scalar(f'train/{name}').data[0].tolist()
        for name in (
            'nodes',
            'depth',
            'largest_node',
            'color_explained',
            'broken_images',
            'parse_ms',
            'tree_ms',
        )
    }
    assert history['nodes'] == [16, 16, 6, 6, 4, 4]  # 2^(4 - 2 * sqrt(0.5)) = 6.0
    assert history['depth'] == pytest.approx([4, 4, log2(6), log2(6), 2, 2])
    assert history['largest_node'][:2] == [1 / 16] * 2 and min(history['largest_node'][4:]) >= 0.25
    assert history['color_explained'][:2] == [1] * 2 and max(history['color_explained'][4:]) < 1
    assert history['broken_images'] == [0] * 6
    assert history['parse_ms'][0] < min(history['parse_ms'][2:])
    assert all(value > 0 for value in history['tree_ms'])


def test_looking_changes_nothing(tmp_path):
    quiet = train(tmp_path / 'quiet', MOMENTUM, PROGRESS)[1]
    look = dict(STATISTICS, interval=1)
    watched = train(tmp_path / 'watched', MOMENTUM, PROGRESS, look)[1]
    assert quiet.losses == watched.losses


def test_broken_evidence_is_counted():
    model = MODELS.build(MODEL)
    model.init_weights()
    model.masking.set_progress(1.0)
    images = torch.randn(4, 3, 32, 32)
    images[2] = torch.nan
    description = describe_masks(model, images)
    assert description['broken_images'] == 1 and description['nodes'] == 4
    assert 0 <= description['difficulty'] <= 1


def test_parts_are_described_too():
    model = MODELS.build(MODEL | dict(masking=dict(type='mmmask.EvolvedPartMask', start_parts=10)))
    model.init_weights()
    model.masking.set_progress(0.5)
    description = describe_masks(model, torch.randn(4, 3, 32, 32))
    assert 1 <= description['nodes'] <= 12 and 1 / 16 <= description['largest_node'] <= 1


@pytest.mark.parametrize('parser', [dict(momentum=0.9), dict(momentum=None)])
def test_the_loss_falls(tmp_path, parser):
    """From random masks to masks of four nodes; the pixels of digits are mostly background."""
    model = dict(parser=dict(type='mmmask.EncoderParser', **parser))
    _, watch = train(tmp_path, MOMENTUM, PROGRESS, epochs=12, model=model)
    assert all(loss < float('inf') for loss in watch.losses)
    assert sum(watch.losses[-4:]) < 0.7 * sum(watch.losses[:4])

"""All processes find boxes at the right time, and the workers that crop use them."""

import os
import random
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import ConcatDataset, RepeatDataset
from mmengine.hooks import Hook
from mmengine.runner import Runner
from PIL import Image

from mmmask.datasets import Digits, ImageFolder, SeededDataset, are_full, find_boxes
from mmmask.engine.hooks import RefreshCropsHook
from mmmask.engine.hooks.refresh_crops import box_dataset, find_crops, find_datasets, is_due
from mmmask.models.heat_maps import heat_map
from mmmask.pictures import draw_box_stages
from mmmask.registry import DATASETS
from mmmask.visualization import draw_boxes

CROP = dict(type='mmmask.ContrastiveCrop', scale=32, crop_ratio_range=(0.4, 0.8))
FLIP = dict(type='mmpretrain.RandomFlip', prob=0.5)
PACK = dict(type='mmpretrain.PackInputs')


def two_views(side):
    crop = dict(CROP, scale=side)
    views = [[crop], [crop, FLIP]]
    return [dict(type='mmpretrain.MultiView', num_views=[1, 1], transforms=views), PACK]


TWO_VIEWS = two_views(32)
DIGITS = dict(type='mmmask.Digits', indices=range(0, 4000, 200), pipeline=TWO_VIEWS)
REFRESH = dict(type='mmmask.RefreshCropsHook', warmup=1, interval=1, num_images=2)
PREPROCESSOR = dict(
    type='mmpretrain.SelfSupDataPreprocessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    bgr_to_rgb=True,
)


def projector(width):
    return dict(
        type='mmpretrain.NonLinearNeck',
        in_channels=width,
        hid_channels=16,
        out_channels=16,
        num_layers=2,
        norm_cfg=dict(type='BN1d'),
        with_avg_pool=width == 64,
    )


def latent_head():
    return dict(
        type='mmpretrain.LatentPredictHead',
        loss=dict(type='mmpretrain.CosineSimilarityLoss'),
        predictor=projector(16) | dict(with_avg_pool=False),
    )


VIT = dict(
    type='mmmask.MaskedVisionTransformer',
    arch=dict(embed_dims=32, num_layers=2, num_heads=2, feedforward_channels=64),
    img_size=32,
    patch_size=4,
)
MODELS = dict(
    simsiam=dict(
        type='mmpretrain.SimSiam',
        data_preprocessor=PREPROCESSOR,
        backbone=dict(type='mmpretrain.ResNet', depth=18, stem_channels=8, base_channels=8),
        neck=projector(64),
        head=latent_head(),
    ),
    byol=dict(
        type='mmpretrain.BYOL',
        data_preprocessor=PREPROCESSOR,
        backbone=dict(VIT, out_type='cls_token'),
        neck=projector(32),
        head=latent_head(),
    ),
    mae=dict(
        type='mmmask.MAE',
        data_preprocessor=PREPROCESSOR,
        backbone=VIT,
        masking=dict(type='mmmask.RandomMask'),
        neck=dict(
            type='mmmask.TokenDecoder',
            in_channels=32,
            out_channels=48,
            embed_dims=32,
            depth=1,
            num_heads=2,
        ),
        target_generator=dict(type='mmmask.PixelTarget', patch_size=4),
        head=dict(type='mmmask.MaskedRegressionHead'),
    ),
)


class Watch(Hook):
    """Calls a function with the runner, and the batch, at each place that it is given for."""

    def __init__(self, priority='NORMAL', **calls):
        self.priority = priority
        for place, call in calls.items():
            setattr(
                self,
                place,
                lambda runner, *args, call=call, **kwargs: call(runner, *args, **kwargs),
            )


def train(work_dir, *hooks, model='byol', dataset=DIGITS, epochs=3, num_workers=0, **kwargs):
    launcher = kwargs.pop('launcher', 'none')
    custom = [hook for hook in hooks if not isinstance(hook, dict)]
    cfg = dict(
        model=MODELS[model],
        work_dir=str(work_dir),
        train_dataloader=dict(
            batch_size=5,
            num_workers=num_workers,
            persistent_workers=num_workers > 0,
            sampler=dict(type='DefaultSampler', shuffle=True),
            collate_fn=dict(type='default_collate'),
            dataset=dataset,
        ),
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-3)),
        default_hooks=dict(
            logger=dict(type='LoggerHook', interval=1),
            checkpoint=dict(type='CheckpointHook', interval=1),
        ),
        custom_hooks=[hook for hook in hooks if isinstance(hook, dict)],
        visualizer=dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend')]),
        randomness=dict(seed=0),
        experiment_name=f'crops-{Path(work_dir).name}-{random.getrandbits(40)}',
        default_scope='mmmask',
        launcher=launcher,
        log_level='WARNING',
        **kwargs,
    )
    runner = Runner.from_cfg(Config(cfg))
    for hook in custom:
        runner.register_hook(hook, priority=hook.priority)
    runner.train()
    return runner


def hook_of(runner) -> RefreshCropsHook:
    return next(hook for hook in runner.hooks if isinstance(hook, RefreshCropsHook))


def boxes_of(runner):
    (one,) = hook_of(runner).datasets
    return one.boxes.values


@pytest.mark.parametrize(
    ('epochs', 'warmup', 'interval', 'expected'),
    [
        (300, 60, 20, list(range(60, 281, 20))),
        (500, 100, 100, [100, 200, 300, 400]),
        (100, 0.2, 0.2, [20, 40, 60, 80]),
        (12, 0.2, 0.2, [2, 4, 6, 8, 10]),
        (3, 0, 1, [1, 2]),
        (50, 5, 20, [20, 40]),
    ],
)
def test_schedule(epochs, warmup, interval, expected):
    due = [epoch for epoch in range(1, epochs + 1) if is_due(epoch, epochs, warmup, interval)]
    assert due == expected


def test_boxes_are_in_use_after_the_warmup(tmp_path):
    seen = []
    watch = Watch(
        'BELOW_NORMAL',
        before_train_epoch=lambda runner: seen.append(
            (hook_of(runner).datasets[0].boxes.in_use.item(), boxes_of(runner).clone())
        ),
    )
    train(tmp_path, dict(REFRESH, warmup=2, interval=2), watch, epochs=5)
    assert [in_use for in_use, _ in seen] == [False, False, True, True, True]
    same = [torch.equal(one, other) for (_, one), (_, other) in zip(seen, seen[1:], strict=False)]
    assert same == [True, False, True, False]  # found after epochs 2 and 4
    assert seen[0][1].tolist() == [[0, 0, 1, 1]] * 20


@pytest.mark.parametrize(
    ('model', 'kind', 'side'),
    [('simsiam', 'feat_sum', 64), ('byol', 'cls_attn', 32), ('mae', 'feat_norm', 32)],
)
def test_boxes_are_those_of_the_model_on_whole_images(tmp_path, model, kind, side):
    """Images are squashed and normalised by hand; heat map and boxes are found without the hook."""
    weights = {}
    watch = Watch(
        'ABOVE_NORMAL',
        after_train_epoch=lambda runner: weights.update(
            {runner.epoch: {k: v.clone() for k, v in runner.model.state_dict().items()}}
        ),
    )
    hook = dict(REFRESH, heat_map=kind, threshold=0.5)
    views = [dict(CROP, scale=side), PACK] if model == 'mae' else two_views(side)
    data = dict(DIGITS, pipeline=views)
    runner = train(tmp_path, hook, watch, model=model, dataset=data, epochs=2)
    net = runner.model
    net.load_state_dict(weights[0])  # those of the end of the first epoch, counted from 0
    dataset = Digits(indices=range(0, 4000, 200))
    pixels = [cv2.resize(dataset[index]['img'], (side, side)) for index in range(20)]
    pixels = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float()
    mean, std = (torch.tensor(PREPROCESSOR[key]).view(3, 1, 1) for key in ('mean', 'std'))
    maps = heat_map(net.eval().backbone, (pixels - mean) / std, kind)
    expected = find_boxes(maps, (side, side), 0.5)
    found = boxes_of(runner)
    torch.testing.assert_close(found, expected, atol=1.01 / side, rtol=0)  # other batches
    assert (found == expected).float().mean() > 0.95
    assert not are_full(found, (side, side)).all()


class FixedBoxes(RefreshCropsHook):
    """Finds a box without area for each digit, and a different one in each epoch."""

    epoch = 0

    def after_train_epoch(self, runner):
        self.epoch = runner.epoch + 1
        super().after_train_epoch(runner)

    def find(self, model, batch):
        numbers = torch.tensor([sample.sample_idx for sample in batch['data_samples']])
        points = torch.stack([numbers + self.epoch, 27 - numbers], dim=1) / 28
        return torch.zeros(len(numbers), 2, 2), points.repeat(1, 2)


def test_persistent_workers_crop_by_the_new_boxes(tmp_path):
    """Crops of 16 pixels around a point need no resizing and have only one position."""
    area = 16**2 / 28**2
    crop = dict(CROP, scale=16, crop_ratio_range=(area, area), aspect_ratio_range=(1.0, 1.0))
    dataset = Digits(indices=range(0, 4000, 200))
    right = {}

    def compare(runner, batch_idx, data_batch=None, outputs=None):
        for image, sample in zip(data_batch['inputs'], data_batch['data_samples'], strict=True):
            number = sample.sample_idx
            top = min(max(number + runner.epoch - 8, 0), 12)
            left = min(max(27 - number - 8, 0), 12)
            expected = dataset[number]['img'][top : top + 16, left : left + 16, 0]
            right.setdefault(runner.epoch, []).append(np.array_equal(image[0], expected))

    train(
        tmp_path,
        FixedBoxes(warmup=1, interval=1, num_images=0),
        Watch(after_train_iter=compare),
        model='mae',
        dataset=dict(DIGITS, pipeline=[crop, PACK]),
        epochs=4,
        num_workers=2,
    )
    assert [all(right[epoch]) for epoch in range(4)] == [False, True, True, True]
    assert [len(right[epoch]) for epoch in range(4)] == [20] * 4


def test_two_processes_find_the_boxes_of_one(tmp_path):
    """Of 19 images one process searches 10. Both processes end up with all boxes."""
    dataset = dict(DIGITS, indices=range(0, 3800, 200))
    torch.multiprocessing.start_processes(
        _train_shard, args=(tmp_path, dataset), nprocs=2, start_method='fork'
    )
    first, second = (torch.load(tmp_path / f'{rank}.pth') for rank in (0, 1))
    assert torch.equal(first['boxes'], second['boxes'])
    # One process that looks with the same weights.
    runner = train(tmp_path / 'one', REFRESH, dataset=dataset, epochs=1)
    runner.model.load_state_dict(first['weights'])
    hook = hook_of(runner)
    hook._search(runner, runner.model.eval(), hook.datasets[0])
    torch.testing.assert_close(boxes_of(runner), first['boxes'], atol=1.01 / 32, rtol=0)
    assert (boxes_of(runner) == first['boxes']).float().mean() > 0.95
    assert not are_full(first['boxes'], (32, 32)).all()


def _train_shard(rank, tmp_path, dataset):
    torch.set_num_threads(1)  # the threads of the parent do not survive the fork
    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{tmp_path}/rendezvous', rank=rank, world_size=2
    )
    os.environ['LOCAL_RANK'] = str(rank)  # mmengine asks for it, even without a GPU
    weights = {}
    runner = train(
        tmp_path / 'two',
        REFRESH,
        Watch(
            'ABOVE_NORMAL',
            after_train_epoch=lambda runner: weights.setdefault(
                'first', {k: v.clone() for k, v in runner.model.module.state_dict().items()}
            ),
        ),
        dataset=dataset,
        epochs=2,
        launcher='pytorch',
        model_wrapper_cfg=dict(type='MMDistributedDataParallel', device_ids=None),
    )
    torch.save(dict(boxes=boxes_of(runner), weights=weights['first']), tmp_path / f'{rank}.pth')


def test_a_resumed_training_has_the_same_boxes_bit_by_bit(tmp_path):
    """The picture is continued, too."""

    def hook():
        return FixedBoxes(warmup=0, interval=2, num_images=2)

    def train_on(name, *hooks, **kwargs):
        return train(tmp_path / name, hook(), *hooks, model='mae', epochs=4, **kwargs)

    first = train_on('first')
    begun, picked_up = [], []
    second = train_on(
        'second',
        Watch('LOW', before_train=lambda runner: begun.append(boxes_of(runner).clone())),
        Watch('LOW', before_train=lambda runner: picked_up.extend(hook_of(runner).stages)),
        load_from=str(tmp_path / 'first' / 'epoch_3.pth'),
        resume=True,
    )
    numbers = torch.arange(20)
    expected = torch.stack([numbers + 2, 27 - numbers], dim=1) / 28  # found after epoch 2
    for boxes in (begun[0], boxes_of(first), boxes_of(second)):
        assert torch.equal(boxes, expected.repeat(1, 2))
    assert [stage.title for stage in picked_up] == ['epoch 2']
    for one, other in zip(hook_of(first).stages, hook_of(second).stages, strict=True):
        assert torch.equal(one.boxes, other.boxes) and torch.equal(one.heat_maps, other.heat_maps)


def test_what_resuming_cannot_do(tmp_path):
    train(tmp_path / 'with', REFRESH, model='mae', epochs=2)
    train(tmp_path / 'without', model='mae', dataset=dict(DIGITS, pipeline=plain()), epochs=1)
    resume = dict(load_from=str(tmp_path / 'with' / 'epoch_2.pth'), resume=True, model='mae')
    fewer = dict(DIGITS, indices=range(10))
    with pytest.raises(ValueError, match=r'boxes for data sets of \[20\] images, .* have \[10\]'):
        train(tmp_path / 'fewer', REFRESH, dataset=fewer, epochs=3, **resume)
    seen = []
    watch = Watch('LOW', before_train=lambda runner: seen.append(boxes_of(runner).clone()))
    resume['load_from'] = str(tmp_path / 'without' / 'epoch_1.pth')
    train(tmp_path / 'added', REFRESH, watch, epochs=2, **resume)
    # Other data, from the first epoch on: the boxes of the checkpoint are not for it.
    start = dict(load_from=str(tmp_path / 'with' / 'epoch_2.pth'), model='mae')
    train(tmp_path / 'anew', REFRESH, watch, dataset=fewer, epochs=1, **start)
    assert [one.tolist() for one in seen] == [[[0, 0, 1, 1]] * 20, [[0, 0, 1, 1]] * 10]


def plain():
    return [dict(type='mmpretrain.Resize', scale=(32, 32)), PACK]


def test_the_search_leaves_the_training_as_it_is(tmp_path):
    states = []

    def keep(runner):
        modes = tuple(module.training for module in runner.model.modules())
        draws = torch.get_rng_state(), np.random.get_state()[1], random.getstate()
        buffers = [buffer.clone() for buffer in runner.model.buffers()]
        states.append((modes, draws, buffers))

    watches = [Watch(place, after_train_epoch=keep) for place in ('ABOVE_NORMAL', 'BELOW_NORMAL')]
    runner = train(
        tmp_path, dict(REFRESH, heat_map='feat_sum'), *watches, model='simsiam', epochs=2
    )
    assert len(hook_of(runner).stages) == 1
    (modes, draws, buffers), (same_modes, same_draws, same_buffers) = states[:2]
    assert modes == same_modes and draws[2] == same_draws[2]
    assert torch.equal(draws[0], same_draws[0]) and np.array_equal(draws[1], same_draws[1])
    assert all(torch.equal(*pair) for pair in zip(buffers, same_buffers, strict=True))


def test_the_log_and_a_warning_where_boxes_do_not_guide(tmp_path):
    logs = []
    for threshold in (0.001, 0.8):
        work_dir = tmp_path / str(threshold)
        runner = train(work_dir, dict(REFRESH, threshold=threshold), epochs=3)
        hub, boxes = runner.message_hub, boxes_of(runner)
        area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        scalars = [hub.get_scalar(f'train/{name}').current() for name in ('box_area', 'full_boxes')]
        full = are_full(boxes, (32, 32)).float().mean().item()
        assert scalars == pytest.approx([area.mean().item(), full])
        logs.append(next(work_dir.glob('*/*.log')).read_text())
    warning = 'crops fall almost anywhere. Raise threshold of RefreshCropsHook (0.001)'
    assert warning in logs[0]
    assert 'crops fall almost anywhere' not in logs[1]


def test_the_picture(tmp_path):
    runner = train(tmp_path, REFRESH, epochs=4)
    (last,) = tmp_path.glob('*/vis_data/vis_image/boxes_12.png')
    hook = hook_of(runner)
    images = np.stack([hook.datasets[0].whole[index]['inputs'] for index in (0, 19)])
    stages = hook.stages
    assert [stage.title for stage in stages] == ['epoch 1', 'epoch 2', 'epoch 3']
    assert torch.equal(stages[-1].boxes, boxes_of(runner)[[0, 19]])
    picture = draw_boxes(images.astype(float), stages, [0] * 3, [1] * 3)
    np.testing.assert_array_equal(np.asarray(Image.open(last)), picture)
    batch = dict(inputs=torch.from_numpy(images), data_samples=[])
    assert np.array_equal(draw_box_stages(runner.model, batch, stages), picture)


def test_wrapped_data_sets_have_their_own_boxes():
    """Each data set numbers its own samples: two first images must not share a box."""
    parts = [dict(DIGITS, indices=range(count)) for count in (3, 5)]
    both = ConcatDataset([DATASETS.build(part) for part in parts])
    plain_part = DATASETS.build(dict(DIGITS, pipeline=plain()))
    for wrapped, lengths in (
        (both, [3, 5]),
        (RepeatDataset(both.datasets[1], times=3), [5]),
        (ConcatDataset([both.datasets[0], plain_part, both.datasets[0]]), [3]),
        (torch.utils.data.Subset(both, range(4)), [3, 5]),
        (SeededDataset(both), [3, 5]),
        (plain_part, []),
    ):
        found = [box_dataset(one) for one in find_datasets(wrapped)]
        assert [len(one.boxes.values) for one in found] == lengths
        assert [len(one.whole) for one in found] == lengths
    first, second = (find_crops(part.pipeline) for part in both.datasets)
    assert len(first) == len(second) == 2
    assert first[0].boxes is first[1].boxes is not second[0].boxes


def test_only_crops_without_a_fixed_box_get_boxes():
    fixed = dict(CROP, box=(0.25, 0.25, 0.75, 0.75))
    views = [
        dict(type='mmpretrain.MultiView', num_views=[1, 1], transforms=[[fixed], [CROP]]),
        PACK,
    ]
    dataset = DATASETS.build(dict(DIGITS, pipeline=views))
    box_dataset(dataset)
    one, other = (view.transforms[0] for view in dataset.pipeline.transforms[0].pipelines)
    assert one.boxes is None and other.boxes is not None


def test_whole_images_go_through_what_stands_before_the_views():
    middle = dict(type='mmpretrain.CenterCrop', crop_size=20)
    dataset = DATASETS.build(dict(DIGITS, pipeline=[middle, *TWO_VIEWS]))
    whole = box_dataset(dataset).whole[3]['inputs'].permute(1, 2, 0).numpy()
    image = Digits(indices=range(0, 4000, 200))[3]['img'][4:24, 4:24]
    expected = dataset.pipeline.transforms[0](dict(img=image))['img']
    resize = DATASETS.build(dict(DIGITS, pipeline=plain())).pipeline.transforms[0]
    np.testing.assert_array_equal(whole, resize(dict(img=expected))['img'])


def test_an_image_in_place_of_an_unreadable_one_keeps_its_own_box(tmp_path):
    for number in range(6):
        pixels = np.zeros((40, 40, 3), np.uint8)
        pixels[5 * number : 5 * number + 8, 12:20] = 255
        Image.fromarray(pixels).save(tmp_path / f'{number}.png')
    (tmp_path / '2.png').write_bytes(b'words')
    dataset = ImageFolder(str(tmp_path), pipeline=TWO_VIEWS)
    one = box_dataset(dataset)

    class Light(RefreshCropsHook):
        def find(self, model, batch):
            light = batch['inputs'].float().mean(dim=1)
            return light, find_boxes(light, (32, 32), self.threshold)

    class FakeRunner:
        class train_dataloader:  # noqa: N801
            batch_size, num_workers = 4, 0

    Light(threshold=0.5)._search(FakeRunner, None, one)
    tops = [round(float(top) * 32) for top in one.boxes.values[:, 0]]
    assert tops == pytest.approx([0, 4, 0, 12, 16, 20], abs=0.5)
    assert one.boxes.values[2].tolist() == [0, 0, 1, 1]


def test_wrong_use(tmp_path):
    with pytest.raises(ValueError, match="heat_map='attention' is not one of"):
        RefreshCropsHook(heat_map='attention')
    with pytest.raises(ValueError, match=r'threshold=1.5 must lie in \(0, 1\)'):
        RefreshCropsHook(threshold=1.5)
    with pytest.raises(ValueError, match='finds no ContrastiveCrop without a fixed box'):
        train(
            tmp_path / 'none',
            REFRESH,
            model='mae',
            dataset=dict(DIGITS, pipeline=plain()),
            epochs=1,
        )
    with pytest.raises(TypeError, match='TensorDataset does not number its samples'):
        list(find_datasets(torch.utils.data.TensorDataset(torch.zeros(3))))

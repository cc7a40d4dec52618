"""The evolution picture: from training, from checkpoints, and its pixels."""

import numpy as np
import pytest
import torch
from conftest import ROOT
from mmengine.config import Config
from PIL import Image
from test_evolved_hooks import DATASET, MODEL, MOMENTUM, PROGRESS, train

from mmmask.apis import visualize as apis
from mmmask.pictures import divide_and_mask, sample_batch
from mmmask.registry import DATASETS, MODELS
from mmmask.visualization import HIDDEN_PATCH, PAPER, draw_evolution

STRIP = dict(type='mmmask.EvolutionHook', dataset=DATASET, interval=2, num_images=2)
CONFIG = ROOT / 'configs' / 'demo' / 'ehm_vit-tiny_digits.py'


def test_parts_and_masks_by_pixel():
    """Four patches of 64 px: two parts, the lower one hidden."""
    image = torch.zeros(1, 3, 128, 128)
    image[:, 0, :64] = 100.0
    image[:, 0, :64, 64:] = 200.0  # the upper part is half 100, half 200
    labels = torch.tensor([[[4, 4], [6, 6]]])
    hidden = torch.tensor([[[False, False], [True, True]]])
    picture = draw_evolution(image, [('first', labels, hidden)], (0, 0, 0), (1, 1, 1))
    mean = (150, 0, 0)
    counts = {color: int((picture == color).all(-1).sum()) for color in (mean, HIDDEN_PATCH, PAPER)}
    side = 256
    # Columns are drawn at 256 px; a white line separates the upper half from the lower one.
    assert counts[mean] == side * side // 2
    assert counts[HIDDEN_PATCH] == side * side // 2
    rows = np.flatnonzero((picture == mean).all(-1).any(1))
    columns = np.flatnonzero((picture == mean).all(-1).any(0))
    below = picture[rows[-1] + 1, columns[0] : columns[-1] + 1]
    assert (below == PAPER).all() and (picture[rows[-1] + 2, columns[0]] == 0).all()


def test_training_adds_a_stage_in_the_first_epoch_at_intervals_and_at_the_end(tmp_path):
    runner, watch = train(tmp_path, MOMENTUM, PROGRESS, STRIP, epochs=5)
    hook = next(hook for hook in runner.hooks if type(hook).__name__ == 'EvolutionHook')
    # 2^(4 - 2 * sqrt(progress)) of 16 patches
    assert [stage.title for stage in hook.stages] == [
        'epoch 1, 16 parts',
        'epoch 2, 8 parts',
        'epoch 4, 5 parts',
        'epoch 5, 4 parts',
    ]
    assert all((stage.hidden.sum((1, 2)) == 12).all() for stage in hook.stages)
    pictures = sorted(tmp_path.glob('*/vis_data/vis_image/evolution_*.png'))
    assert len(pictures) == 4
    widths = sorted(Image.open(path).width for path in pictures)
    assert len({b - a for a, b in zip(widths, widths[1:], strict=False)}) == 1
    without = train(tmp_path / 'without', MOMENTUM, PROGRESS, epochs=5)[1]
    assert without.losses == watch.losses


def test_a_resumed_training_draws_all_stages(tmp_path):
    checkpoint = dict(type='CheckpointHook', interval=1)
    train(tmp_path / 'first', MOMENTUM, PROGRESS, STRIP, checkpoint, epochs=4)
    saved = str(tmp_path / 'first' / 'epoch_2.pth')
    for resume, expected in ((True, [1, 2, 4]), (False, [1, 2, 4])):
        runner, _ = train(
            tmp_path / f'{resume}',
            MOMENTUM,
            PROGRESS,
            STRIP,
            epochs=4,
            load_from=saved,
            resume=resume,
        )
        hook = next(hook for hook in runner.hooks if type(hook).__name__ == 'EvolutionHook')
        assert [int(stage.title.split()[1].rstrip(',')) for stage in hook.stages] == expected


def test_models_without_parts_are_refused():
    model = MODELS.build(
        {key: value for key, value in MODEL.items() if key != 'parser'}
        | dict(type='mmmask.MAE', masking=dict(type='mmmask.RandomMask'))
    )
    batch = sample_batch(DATASETS.build(DATASET), 1)
    with pytest.raises(ValueError, match='RandomMask does not divide.*EvolvedHierarchyMask'):
        divide_and_mask(model, batch, 0)


@pytest.fixture(scope='module')
def checkpoints(tmp_path_factory):
    """Two checkpoints of the demo, after 1 and after 20 of its 20 epochs."""
    folder = tmp_path_factory.mktemp('checkpoints')
    state = apis.build_model(Config.fromfile(CONFIG), seed=3).state_dict()
    paths = []
    for epoch in (20, 1):
        paths.append(folder / f'epoch_{epoch}.pth')
        torch.save(dict(state_dict=state, meta=dict(epoch=epoch, iter=31 * epoch)), paths[-1])
    return paths


def record_titles(monkeypatch):
    titles, draw = [], apis.draw_stages

    def record(model, batch, stages):
        titles.extend(stage.title for stage in stages)
        return draw(model, batch, stages)

    monkeypatch.setattr(apis, 'draw_stages', record)
    return titles


def test_a_strip_from_checkpoints_in_the_order_of_training(checkpoints, tmp_path, monkeypatch):
    titles = record_titles(monkeypatch)
    out = apis.visualize_evolution(CONFIG, checkpoints, out=tmp_path / 'new' / 'x.png')
    assert titles == ['progress 0.00, 64 parts', 'progress 1.00, 6 parts']
    assert Image.open(out).size[0] > 1000


def test_a_single_checkpoint_shows_the_schedule(checkpoints, tmp_path, monkeypatch):
    titles = record_titles(monkeypatch)
    apis.visualize_evolution(CONFIG, checkpoints[:1], out=tmp_path / 'x.png', num_images=1)
    # 2^(6 - (6 - log2(6)) * sqrt(progress)) of 64 patches
    assert [title.split(', ')[1] for title in titles] == [
        '64 parts',
        '30 parts',
        '20 parts',
        '12 parts',
        '6 parts',
    ]


def test_what_cannot_be_drawn_is_named(checkpoints, tmp_path):
    torch.save(torch.load(checkpoints[0]) | dict(meta={}), tmp_path / 'bare.pth')
    with pytest.raises(ValueError, match='does not contain its epoch'):
        apis.visualize_evolution(CONFIG, [checkpoints[1], tmp_path / 'bare.pth'])
    mae = ROOT / 'configs' / 'demo' / 'mae_vit-tiny_digits.py'
    state = apis.build_model(Config.fromfile(mae)).state_dict()
    torch.save(dict(state_dict=state), tmp_path / 'mae.pth')
    with pytest.raises(ValueError, match='the masks of RandomMask do not change'):
        apis.visualize_evolution(mae, [tmp_path / 'mae.pth'])

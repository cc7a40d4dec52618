"""Predictions beside the ground truth, the worst first."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmpretrain.structures import DataSample
from PIL import Image

from mmmask.apis.draw import DrawPredictionsHook, f1_score, mean_iou


def test_f1_of_boxes():
    """Two objects; one is found, one has the wrong class, one box is second on a found object."""
    truth = torch.tensor([[0, 0, 10, 10], [20, 20, 30, 30]])
    found = torch.tensor([[0, 0, 10, 8], [20, 20, 30, 30], [0, 0, 10, 10]])
    score = f1_score(truth, torch.tensor([0, 1]), found, torch.tensor([0, 0, 0]))
    assert score == 2 * 1 / (2 + 3)
    assert f1_score(truth[:0], torch.tensor([]), found[:0], torch.tensor([])) == 1
    assert f1_score(truth, torch.tensor([0, 1]), found[:0], torch.tensor([])) == 0


def test_mean_iou_ignores_void():
    truth = np.array([[0, 0, 1, 255]])
    found = np.array([[0, 1, 1, 2]])
    assert mean_iou(truth, found) == (1 / 2 + 1 / 2) / 2
    assert mean_iou(np.full((2, 2), 255), np.zeros((2, 2))) == 1


def test_the_worst_come_first_and_no_more_than_asked_for(tmp_path):
    """Probabilities of the true class: 0.9, 0.2, 0.4, 0.2 in two batches."""
    infos = []
    loop = SimpleNamespace(
        evaluator=object(),
        dataloader=SimpleNamespace(dataset=SimpleNamespace(metainfo=dict(classes=('ant', 'bee')))),
    )
    runner = SimpleNamespace(test_loop=loop, logger=SimpleNamespace(info=infos.append))
    hook = DrawPredictionsHook(tmp_path / 'worst', count=3)
    hook.before_test(runner)
    samples = [
        DataSample(metainfo=dict(img_path=f'{name}.png'))
        .set_gt_label(0)
        .set_pred_score(torch.tensor([p, 1 - p]))
        for name, p in (('good', 0.9), ('bad', 0.2), ('middle', 0.4), ('also', 0.2))
    ]
    images = [torch.full((3, 20, 30), 10 * i, dtype=torch.uint8) for i in range(4)]
    for start in (0, 2):
        batch = dict(inputs=images[start : start + 2])
        hook.after_test_iter(runner, 0, batch, samples[start : start + 2])
    hook.after_test_epoch(runner)
    ranked = sorted(hook._worst, key=lambda entry: entry[:2], reverse=True)
    assert [drawing.name for _, _, drawing in ranked] == ['bad.png', 'also.png', 'middle.png']
    colours = [10, 30, 20]
    for rank, colour in enumerate(colours, 1):
        with Image.open(tmp_path / 'worst' / f'{rank:03d}.png') as image:
            assert image.getpixel((250, image.height - 2)) == (colour,) * 3
    assert infos == [f'3 pictures, the worst first, are in {tmp_path / "worst"}']


def test_a_test_without_predictions_is_refused(tmp_path):
    hook = DrawPredictionsHook(tmp_path / 'worst')
    with pytest.raises(ValueError, match='needs a test of a classifier, detector or segmentor'):
        hook.before_test(SimpleNamespace(test_loop=object()))

"""Operators of mmcv that torchvision computes, against plain loops, on a GPU if there is one."""

import sys
from importlib.machinery import ModuleSpec
from itertools import product

import numpy as np
import pytest
import torch

import mmmask.operators
import mmmask.registry  # noqa: F401  (mmcv.ops imports after it)
from mmmask.operators import EXTENSION, Operators, provide_operators

OPERATORS = Operators()


@pytest.fixture
def device():
    """New tensors are on the GPU."""
    with torch.device('cuda' if torch.cuda.is_available() else 'cpu'):
        yield


def on_gpu(test):
    return pytest.mark.gpu(pytest.mark.usefixtures('device')(test))


def options(**changes):
    """The options that mmcv passes to RoIAlign."""
    place = dict(aligned_height=7, aligned_width=7, spatial_scale=0.125, sampling_ratio=0)
    return place | dict(pool_mode=1, aligned=True) | changes


def overlap(a, b, offset):
    """Intersection over union of two boxes."""
    (left, top), (right, bottom) = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    both = max(right - left + offset, 0) * max(bottom - top + offset, 0)
    area_a, area_b = (np.prod(box[2:] - box[:2] + offset) for box in (a, b))
    return both / (area_a + area_b - both)


@on_gpu
@pytest.mark.parametrize('offset', [0, 1])
def test_non_maximum_suppression(offset):
    random = np.random.default_rng(offset)
    corners = random.uniform(0, 20, (60, 2))
    boxes = np.concatenate([corners, corners + random.uniform(1, 12, (60, 2))], 1)
    scores = random.permutation(60) / 60
    kept = []
    for index in np.argsort(-scores):
        if all(overlap(boxes[index], boxes[other], offset) <= 0.3 for other in kept):
            kept.append(index)
    assert 5 < len(kept) < 55
    found = OPERATORS.nms(
        torch.tensor(boxes), torch.tensor(scores), iou_threshold=0.3, offset=offset
    )
    assert found.tolist() == kept


def test_the_offset_decides_about_small_boxes():
    """Two boxes of 2 px side by side share 2 of 6 px, and none if the far corner is outside."""
    boxes, scores = torch.tensor([[0.0, 0, 1, 1], [1, 0, 2, 1]]), torch.tensor([0.9, 0.8])
    assert OPERATORS.nms(boxes, scores, iou_threshold=0.3, offset=1).tolist() == [0]
    assert OPERATORS.nms(boxes, scores, iou_threshold=0.3, offset=0).tolist() == [0, 1]


def bilinear(image, y, x):
    """The value of an image (H, W) between its pixels, for points inside of it."""
    top, left = int(y), int(x)
    bottom, right = min(top + 1, image.shape[0] - 1), min(left + 1, image.shape[1] - 1)
    fy, fx = y - top, x - left
    upper = image[top, left] * (1 - fx) + image[top, right] * fx
    lower = image[bottom, left] * (1 - fx) + image[bottom, right] * fx
    return upper * (1 - fy) + lower * fy


@on_gpu
@pytest.mark.parametrize(('aligned', 'samples'), list(product([True, False], [1, 2])))
def test_roi_align(aligned, samples):
    random = np.random.default_rng(0)
    features = random.normal(size=(2, 1, 10, 12))
    rois = np.array([[0, 4.0, 5.0, 13.0, 15.0], [1, 3.0, 2.0, 20.0, 9.0]])
    scale, (rows, columns) = 0.5, (3, 2)
    expected = np.zeros((2, 1, rows, columns))
    for number, (image, x1, y1, x2, y2) in enumerate(rois):
        left, top = x1 * scale - 0.5 * aligned, y1 * scale - 0.5 * aligned
        height, width = (y2 - y1) * scale / rows, (x2 - x1) * scale / columns
        for row, column in product(range(rows), range(columns)):
            points = [
                bilinear(
                    features[int(image), 0],
                    top + height * (row + (i + 0.5) / samples),
                    left + width * (column + (j + 0.5) / samples),
                )
                for i, j in product(range(samples), repeat=2)
            ]
            expected[number, 0, row, column] = np.mean(points)
    output = torch.zeros(2, 1, rows, columns, dtype=torch.float64)
    arguments = options(
        aligned_height=rows,
        aligned_width=columns,
        spatial_scale=scale,
        sampling_ratio=samples,
        aligned=aligned,
    )
    empty = torch.zeros(0)
    boxes = torch.tensor(rois)
    OPERATORS.roi_align_forward(torch.tensor(features), boxes, output, empty, empty, **arguments)
    torch.testing.assert_close(output, torch.tensor(expected))

    # The operator is linear, so its gradient g satisfies <g, features> = <weights, output>.
    weights, gradient = torch.tensor(random.normal(size=expected.shape)), torch.ones(2, 1, 10, 12)
    gradient = gradient.double()
    OPERATORS.roi_align_backward(weights, boxes, empty, empty, gradient, **arguments)
    torch.testing.assert_close((gradient * torch.tensor(features)).sum(), (weights * output).sum())
    assert (gradient[0, 0, :2] == 0).all()  # above the only rectangle of the first image


@on_gpu
def test_the_operators_of_mmcv_compute_and_have_gradients():
    """mmcv's own functions, whether mmcv or torchvision computes them."""
    from mmcv.ops import RoIAlign, batched_nms

    boxes = torch.tensor([[0.0, 0, 10, 10], [1, 1, 11, 11], [1, 1, 11, 11], [20, 20, 30, 30]])
    scores, classes = torch.tensor([0.9, 0.8, 0.7, 0.6]), torch.tensor([0, 0, 1, 0])
    kept = batched_nms(boxes, scores, classes, dict(type='nms', iou_threshold=0.68))[1]
    assert kept.tolist() == [0, 2, 3]  # the second overlaps the first by 81 / 119
    features = torch.randn(1, 2, 6, 6, dtype=torch.float64, requires_grad=True)
    rois = torch.tensor([[0, 1.0, 1.0, 9.0, 7.0]], dtype=torch.float64)
    pool = RoIAlign(2, spatial_scale=0.5, sampling_ratio=2)
    assert torch.autograd.gradcheck(lambda features: pool(features, rois), features)
    assert pool(features, rois[:0]).shape == (0, 2, 2, 2)


def test_they_equal_the_compiled_ones():
    """Needs an mmcv with compiled operators, which the set-up for tests does not make."""
    import mmcv.ops  # noqa: F401

    compiled = sys.modules[EXTENSION]
    if isinstance(compiled, Operators):
        pytest.skip('mmcv has no compiled operators to compare with')
    generator = torch.Generator().manual_seed(0)

    def random(*shape):
        return torch.rand(*shape, generator=generator)

    corners = 200 * random(2000, 2)
    boxes, scores = torch.cat([corners, corners + 100 * random(2000, 2)], 1), random(2000)
    for offset in (0, 1):
        ours, theirs = (
            library.nms(boxes, scores, iou_threshold=0.5, offset=offset)
            for library in (OPERATORS, compiled)
        )
        assert ours.tolist() == theirs.tolist()
    features, corners = random(2, 8, 50, 60), 300 * random(300, 2)
    images = torch.arange(300)[:, None] % 2
    rois = torch.cat([images, corners, corners + 200 * random(300, 2)], 1)
    for aligned, samples in product([True, False], [0, 2]):
        arguments = options(sampling_ratio=samples, aligned=aligned)
        found = []
        for library in (OPERATORS, compiled):
            output, gradient = torch.zeros(300, 8, 7, 7), torch.zeros_like(features)
            empty = features.new_zeros(0)
            library.roi_align_forward(features, rois, output, empty, empty, **arguments)
            library.roi_align_backward(output, rois, empty, empty, gradient, **arguments)
            found.append((output, gradient))
        torch.testing.assert_close(*found, rtol=0, atol=0)


def test_what_torchvision_lacks_is_refused():
    with pytest.raises(NotImplementedError, match='does not replace deform_conv_forward. Remedy'):
        OPERATORS.deform_conv_forward(1, stride=2)
    with pytest.raises(NotImplementedError, match="write pool_mode='avg'"):
        OPERATORS.roi_align_forward(*[torch.zeros(0)] * 5, **options(pool_mode=0))
    assert not hasattr(OPERATORS, '__path__')


def test_compiled_operators_are_not_replaced(monkeypatch):
    compiled = ModuleSpec(EXTENSION, None)
    found = {'mmcv': ModuleSpec('mmcv', None), EXTENSION: compiled}
    monkeypatch.setattr(mmmask.operators, 'find_spec', found.get)
    monkeypatch.delitem(sys.modules, EXTENSION, raising=False)
    provide_operators()
    assert EXTENSION not in sys.modules
    del found[EXTENSION]
    provide_operators()
    assert isinstance(sys.modules[EXTENSION], Operators)
    del found['mmcv'], sys.modules[EXTENSION]
    provide_operators()
    assert EXTENSION not in sys.modules

"""The crop of MAE's linear probe."""

import numpy as np
import pytest

from mmmask.datasets import ClippedResizedCrop


def crops(size, count=200, seed=0, **options):
    """(count, 4) top, left, height and width of crops of an image."""
    np.random.seed(seed)  # noqa: NPY002  the generator that transforms use
    crop, image = ClippedResizedCrop(32, **options), np.zeros((*size, 3), np.uint8)
    return np.array([crop.rand_crop_params(image) for _ in range(count)])


@pytest.mark.parametrize(
    ('size', 'aspect', 'expected'),
    [
        ((100, 100), 4, (50, 100)),  # 50 x 200, clipped to the width
        ((100, 100), 1 / 4, (100, 50)),  # 200 x 50, clipped to the height
        ((40, 160), 1, (40, 80)),  # 80 x 80, clipped to the height
        ((60, 60), 1, (60, 60)),
    ],
)
def test_sizes_of_the_whole_area_worked_out_by_hand(size, aspect, expected):
    found = crops(size, crop_ratio_range=(1, 1), aspect_ratio_range=(aspect, aspect))
    assert (found[:, 2:] == expected).all()
    for start, side, length in zip(found[:, :2].T, size, expected, strict=True):
        assert start.min() >= 0 and start.max() <= side - length
        assert len(set(start)) > (0 if side == length else 30)  # not the centre alone


def test_samples_are_those_of_the_reference():
    """Area, aspect ratio, top and left are sampled once each, in this order."""
    found = crops((90, 120), count=1, seed=3)[0]
    random = np.random.RandomState(3)
    area = random.uniform(0.08, 1) * 90 * 120
    aspect = np.exp(random.uniform(np.log(3 / 4), np.log(4 / 3)))
    height = min(round(np.sqrt(area / aspect)), 90)
    width = min(round(np.sqrt(area * aspect)), 120)
    assert found.tolist() == [
        random.randint(0, 90 - height + 1), random.randint(0, 120 - width + 1), height, width
    ]  # fmt: skip


def test_the_crop_is_resized():
    image = np.arange(90 * 120 * 3, dtype=np.uint8).reshape(90, 120, 3)
    crop = ClippedResizedCrop(32, backend='pillow', interpolation='bicubic')
    assert crop.transform(dict(img=image))['img'].shape == (32, 32, 3)

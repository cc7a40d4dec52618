"""Boxes from heat maps, and crops that are guided by them."""

import numpy as np
import pytest
import torch
from conftest import ROOT
from mmcv.transforms import Compose
from mmengine.config import Config
from mmpretrain.datasets.transforms import RandomResizedCrop
from scipy.stats import ks_2samp

from mmmask.datasets import (
    ContrastiveCrop,
    CropBoxes,
    ShiftedCrop,
    are_full,
    box_areas,
    find_boxes,
    full_boxes,
    place_crop,
)
from mmmask.engine.hooks.refresh_crops import find_crops
from mmmask.registry import TRANSFORMS

FULL = [0.0, 0.0, 1.0, 1.0]


def map_of(side, rows, columns):
    heat = torch.zeros(1, side, side)
    heat[:, rows[0] : rows[1] + 1, columns[0] : columns[1] + 1] = 1
    return heat


def spans(heat, side, threshold):
    """First row, last row, first column and last column of the box, in pixels."""
    top, left, bottom, right = (find_boxes(heat, (side, side), threshold)[0] * side).tolist()
    return pytest.approx([top, bottom, left, right], abs=1e-4)


@pytest.mark.parametrize(
    ('heat', 'side', 'threshold', 'expected'),
    [
        (map_of(14, (4, 9), (3, 7)), 224, 0.1, [58, 165, 42, 133]),
        (map_of(14, (4, 9), (3, 7)), 224, 0.5, [64, 159, 48, 127]),
        (map_of(14, (5, 5), (9, 9)), 224, 0.1, [74, 101, 138, 165]),
        (map_of(14, (5, 5), (9, 9)), 224, 0.5, [80, 95, 144, 159]),
        (map_of(8, (2, 4), (3, 6)), 64, 0.1, [13, 42, 21, 58]),
        (map_of(8, (2, 4), (3, 6)), 64, 0.5, [16, 39, 24, 55]),
    ],
)
def test_boxes_worked_out_by_hand(heat, side, threshold, expected):
    assert spans(heat, side, threshold) == expected


def test_fractions_are_those_of_the_paper():
    box = find_boxes(map_of(14, (4, 9), (3, 7)), (224, 224), 0.1)[0]
    assert box.tolist() == pytest.approx([0.2589, 0.1875, 0.7366, 0.5938], abs=5e-5)


def test_boxes_are_those_of_a_loop_in_numpy():
    """Resizing by hand: weights 0.5 + distance of pixel centres."""
    generator = torch.Generator().manual_seed(0)
    maps = torch.rand(6, 5, 7, generator=generator) ** 8 - 3
    size = (40, 63)
    boxes = find_boxes(maps, size, 0.6).numpy()
    for heat, box in zip(maps.numpy().astype(float), boxes, strict=True):
        heat = (heat - heat.min()) / (heat.max() - heat.min())
        for axis, length in enumerate(size):
            place = ((np.arange(length) + 0.5) * heat.shape[axis] / length - 0.5).clip(
                0, heat.shape[axis] - 1
            )
            heat = np.apply_along_axis(
                lambda line, place=place: np.interp(place, np.arange(len(line)), line), axis, heat
            )
        rows, columns = (np.flatnonzero((heat > 0.6).any(axis=axis)) for axis in (1, 0))
        expected = [rows[0] / 40, columns[0] / 63, rows[-1] / 40, columns[-1] / 63]
        np.testing.assert_allclose(box, expected, atol=1e-6)


@pytest.mark.parametrize('side', [64, 224])
def test_largest_box_ends_before_the_border(side):
    corners = torch.zeros(1, 14, 14)
    corners[:, ::13, ::13] = 1
    box = find_boxes(corners, (side, side), 0.3)
    assert box[0].tolist() == pytest.approx([0, 0, (side - 1) / side, (side - 1) / side])
    assert are_full(box, (side, side)).tolist() == [True]


def test_maps_that_say_nothing_give_the_whole_image():
    maps = map_of(14, (4, 9), (3, 7)).repeat(5, 1, 1)
    maps[1] = 2.5
    maps[2, 0, 0] = float('nan')
    maps[3, 0, 0] = float('inf')
    maps[4] = map_of(14, (5, 5), (9, 9))  # its enlarged maximum, (31/32)^2, is below 0.95
    boxes = find_boxes(maps, (224, 224), 0.95)
    assert boxes[1:].tolist() == [FULL] * 4
    assert are_full(boxes, (224, 224)).tolist() == [False, True, True, True, True]


def test_neither_offset_nor_scale_matter_and_area_falls_with_the_threshold():
    maps = torch.rand(64, 14, 14, generator=torch.Generator().manual_seed(1)) ** 4
    boxes = find_boxes(maps, (224, 224), 0.4)
    assert torch.equal(boxes, find_boxes(4 * maps, (224, 224), 0.4))
    torch.testing.assert_close(
        boxes, find_boxes(3 * maps - 7, (224, 224), 0.4), atol=1 / 224, rtol=0
    )
    areas = [box_areas(find_boxes(maps, (224, 224), t)) for t in (0.1, 0.3, 0.5, 0.7, 0.9)]
    assert all((after <= before).all() for before, after in zip(areas, areas[1:], strict=False))
    assert (boxes[:, :2] >= 0).all() and (boxes[:, :2] <= boxes[:, 2:]).all()
    assert (boxes[:, 2:] < 1).all()


def test_noise_gives_whole_images():
    """As published thresholds do for a 14x14 map without content: 100 % at 0.3, 34 % at 0.9."""
    maps = torch.rand(500, 14, 14, generator=torch.Generator().manual_seed(0))
    shares = [
        are_full(find_boxes(maps, (224, 224), t), (224, 224)).float().mean() for t in (0.3, 0.9)
    ]
    assert shares == [1.0, pytest.approx(0.34, abs=0.06)]


def test_short_sides_are_widened_around_their_middle():
    heat = torch.cat([map_of(14, (5, 5), (9, 9)), map_of(14, (0, 0), (13, 13))])
    boxes = find_boxes(heat, (224, 224), 0.5, min_side=0.25)
    middle = torch.tensor([(80 + 95) / 2, (144 + 159) / 2]) / 224
    torch.testing.assert_close(boxes[0, :2], middle - 0.125)
    torch.testing.assert_close(boxes[0, 2:], middle + 0.125)
    assert boxes[1].tolist() == pytest.approx([0, 0.75, 0.25, 1])  # pushed back into the image


@pytest.mark.parametrize(
    ('size', 'box', 'crop', 'draws', 'expected'),
    [
        (64, (0, 0, 1, 1), (32, 32), (0.5, 0.25), (16, 8)),
        (64, (0.25, 0.25, 0.75, 0.75), (32, 32), (0.5, 0.999), (16, 31)),
        (64, (0.25, 0.375, 0.5, 0.8125), (40, 30), (0, 0.75), (0, 27)),
        (224, (0.2, 0.3, 0.6, 0.9), (112, 96), (0.5, 0.5), (39, 73)),
        (64, (0.5, 0.5, 0.5, 0.5), (32, 20), (0.1, 0.9), (16, 22)),
        (64, (0, 0, 1, 1), (64, 64), (0.9, 0.9), (0, 0)),
        (64, (0, 0, 1, 1), (10, 10), (1.0, 1.0), (54, 54)),
    ],
)
def test_places_worked_out_by_hand(size, box, crop, draws, expected):
    assert place_crop(box, (size, size), crop, draws) == expected


@pytest.mark.parametrize('side', [28, 49, 64, 224, 500])
def test_a_box_of_pixels_is_found_again(side):
    for pixel in range(side):
        fraction = (torch.tensor(pixel) / side).item()
        box = np.float32([fraction] * 4)
        top, left = place_crop(box, (side, side), (1, 1), (0.3, 0.7))
        assert top == left == pixel


def draw(crop, size, box, number=2000):
    np.random.seed(0)
    return np.array([crop.draw_crop(size, box) for _ in range(number)])


def test_crops_stay_in_the_image_and_their_centres_in_the_box():
    crop = ContrastiveCrop(64, alpha=0.6)
    size, box = (90, 120), np.float32([0.1, 0.6, 0.5, 0.9])
    top, left, height, width = draw(crop, size, box).T
    assert (top >= 0).all() and (left >= 0).all()
    assert (top + height <= 90).all() and (left + width <= 120).all()
    lowest, highest = (
        (9 - height // 2).clip(0, 90 - height),
        (45 - height // 2).clip(0, 90 - height),
    )
    assert ((lowest <= top) & (top <= highest)).all()
    lowest, highest = (
        (72 - width // 2).clip(0, 120 - width),
        (108 - width // 2).clip(0, 120 - width),
    )
    assert ((lowest <= left) & (left <= highest)).all()


def test_sizes_do_not_depend_on_the_box_and_are_those_of_random_crops():
    crop, other = ContrastiveCrop(64), RandomResizedCrop(64, crop_ratio_range=(0.2, 1.0))
    guided = draw(crop, (90, 120), (0.4, 0.4, 0.5, 0.5))[:, 2:]
    np.testing.assert_array_equal(guided, draw(crop, (90, 120), FULL)[:, 2:])
    np.random.seed(1)
    image = np.zeros((90, 120, 3), np.uint8)
    free = np.array([other.rand_crop_params(image)[2:] for _ in range(2000)])
    for axis in (0, 1):
        assert ks_2samp(guided[:, axis], free[:, axis]).pvalue > 0.01


@pytest.mark.parametrize(('alpha', 'outside'), [(0.1, 0.81), (0.6, 0.35), (1.0, 0.20)])
def test_places_follow_a_beta_distribution(alpha, outside):
    """A crop of one pixel in a large image shows the random numbers themselves."""
    crop = ContrastiveCrop(
        64, alpha=alpha, crop_ratio_range=(1e-8, 1e-8), aspect_ratio_range=(1, 1)
    )
    places = draw(crop, (10000, 10000), FULL, 20000)[:, :2] / 9999
    assert places.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.03)
    assert ((places < 0.1) | (places > 0.9)).mean() == pytest.approx(outside, abs=0.01)
    assert np.corrcoef(places.T)[0, 1] == pytest.approx(0, abs=0.03)


@pytest.mark.parametrize('size', [(100, 100), (100, 40), (30, 100)])
def test_when_no_size_fits_the_middle_is_taken_as_by_random_crops(size):
    image = np.zeros((*size, 3), np.uint8)
    options = dict(crop_ratio_range=(4.0, 5.0))
    crop = RandomResizedCrop(64, **options)  # which its method refers to weakly
    expected = crop.rand_crop_params(image)
    assert ContrastiveCrop(64, **options).draw_crop(size, (0, 0, 0.1, 0.1)) == expected


def sample(index=0):
    image = np.random.default_rng(0).integers(0, 256, (50, 60, 3), dtype=np.uint8)
    return dict(img=image, sample_idx=index)


def test_the_crop_is_cut_out_and_resized():
    crop = ContrastiveCrop((20, 30), box=(0.5, 0.5, 0.5, 0.5), crop_ratio_range=(0.2, 0.2))
    crop.aspect_ratio_range = (1.5, 1.5)  # 20 x 30 pixels, which need no resizing
    result = crop(sample())
    np.testing.assert_array_equal(result['img'], sample()['img'][15:35, 15:45])
    assert result['img_shape'] == (20, 30)


def test_until_boxes_are_used_it_is_a_random_crop():
    crop, other = ContrastiveCrop(32), RandomResizedCrop(32, crop_ratio_range=(0.2, 1.0))
    for boxes in (None, full_boxes(3)):
        crop.boxes = boxes
        np.random.seed(5)
        image = crop(sample())['img']
        np.random.seed(5)
        np.testing.assert_array_equal(image, other(sample())['img'])


def test_each_image_has_its_box():
    """Boxes without area around single pixels leave one place for a crop of one pixel."""
    crop = ContrastiveCrop(1, crop_ratio_range=(1 / 3000, 1 / 3000), aspect_ratio_range=(1, 1))
    values = torch.tensor([[0.1, 0.2, 0.1, 0.2], [0.5, 0.25, 0.5, 0.25]])
    crop.boxes = CropBoxes(values, torch.ones(1, dtype=torch.bool))
    for index, (row, column) in enumerate([(5, 12), (25, 15)]):
        pixel = crop(sample(index))['img'][0, 0]
        np.testing.assert_array_equal(pixel, sample()['img'][row, column])


def test_samples_without_a_number_are_refused():
    crop = ContrastiveCrop(32)
    crop.boxes = full_boxes(1)
    with pytest.raises(KeyError, match="by its 'sample_idx', which is not in .'img'.*BaseDataset"):
        crop(dict(img=sample()['img']))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(alpha=0), 'alpha=0 must be above 0'),
        (dict(box=(0.5, 0, 0.4, 1)), 'must be .top, left, bottom, right. in'),
        (dict(box=(0, 0, 1)), 'must be .top, left, bottom, right. in'),
        (dict(box=(0, 0, 1.5, 1)), 'must be .top, left, bottom, right. in'),
    ],
)
def test_impossible_options(options, message):
    with pytest.raises(ValueError, match=message):
        ContrastiveCrop(32, **options)


def test_windows_are_shifted_by_every_amount_up_to_the_largest():
    window = TRANSFORMS.build(dict(type='mmmask.ShiftedCrop', size=(4, 5), max_shift=3))
    image = np.arange(7 * 8).reshape(7, 8, 1).repeat(3, axis=2)
    np.random.seed(0)
    corners = set()
    for _ in range(300):
        result = window(dict(img=image))
        top, left = divmod(int(result['img'][0, 0, 0]), 8)
        np.testing.assert_array_equal(result['img'], image[top : top + 4, left : left + 5])
        corners.add((top, left))
    assert corners == {(top, left) for top in range(4) for left in range(4)}
    unshifted = ShiftedCrop(4)(dict(img=image))['img']
    np.testing.assert_array_equal(unshifted, image[:4, :4])


def test_windows_that_cannot_fit():
    with pytest.raises(ValueError, match='max_shift=-1 must be 0 or more'):
        ShiftedCrop(4, max_shift=-1)
    with pytest.raises(
        ValueError, match=r'shifted by up to 5 does not fit into an image of \(8, 9\)'
    ):
        ShiftedCrop(4, max_shift=5)(dict(img=np.zeros((8, 9, 3))))


FOLDER = ROOT / 'configs' / '_base_' / 'datasets'
BASES = sorted([*FOLDER.glob('*_two_views*.py'), *FOLDER.glob('*_shifted_views.py')])


@pytest.mark.parametrize('path', BASES, ids=lambda path: path.stem)
def test_bases_give_two_views_of_one_place(path):
    """Of a flat image: the first view is as flat and as bright, the second has another colour."""
    pipeline = Compose(Config.fromfile(path).train_dataloader.dataset.pipeline)
    side = 224 if path.stem.startswith('imagenet') or path.stem.endswith('224px') else 64
    for crop in find_crops(pipeline):
        crop.boxes = CropBoxes(torch.tensor([FULL]), torch.ones(1, dtype=torch.bool))
    np.random.seed(0)
    flat = np.full((100, 120, 3), 100, np.uint8)
    pairs = [pipeline(dict(img=flat, sample_idx=0))['inputs'] for _ in range(10)]
    first, second = (torch.stack(views) for views in zip(*pairs, strict=True))
    assert first.shape == second.shape == (10, 3, side, side)
    assert (first == 100).all()  # nothing but crops and flips
    colors = second.flatten(2)
    assert (colors == colors[..., :1]).all()  # one colour everywhere, jittered in 8 of 10
    assert 4 <= (colors[..., 0] != 100).any(dim=1).sum() <= 10
    crops = {type(crop).__name__ for crop in nested(pipeline)}
    kind = 'ShiftedCrop' if 'shifted' in path.stem else 'ContrastiveCrop'
    assert kind in crops


def nested(transform):
    yield transform
    for child in getattr(transform, 'transforms', ()):
        yield from nested(child)

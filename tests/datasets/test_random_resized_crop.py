"""Crops equal those of mmpretrain, whose pixels Pillow makes."""

from math import log

import numpy as np
import pytest
import skimage.data
import torch
from mmengine.dataset import Compose
from mmpretrain.datasets.transforms import RandomResizedCrop as CropOfMMPretrain
from PIL import Image
from scipy.stats import ks_2samp, kstest
from torchvision.transforms import RandomResizedCrop as TorchvisionCrop

from mmmask.datasets import ImageFolder, RandomResizedCrop, resize_image, shrink_image

PHOTOGRAPHS = [skimage.data.chelsea(), skimage.data.astronaut(), skimage.data.coffee()]
PACK = dict(type='mmpretrain.PackInputs')


def theirs(scale, interpolation='bicubic', **kwargs):
    crop = dict(type='mmpretrain.RandomResizedCrop', scale=scale, backend='pillow', **kwargs)
    flip = dict(type='mmpretrain.RandomFlip', prob=0.5)
    return Compose([crop | dict(interpolation=interpolation), flip, PACK])


def ours(scale, **kwargs):
    return Compose(
        [dict(type='mmmask.RandomResizedCrop', scale=scale, flip_prob=0.5, **kwargs), PACK]
    )


@pytest.mark.parametrize('interpolation', ['bicubic', 'bilinear'])
@pytest.mark.parametrize('scale', [224, 64, (96, 160)])
def test_the_same_samples_as_mmpretrain(scale, interpolation):
    options = dict(crop_ratio_range=(0.2, 1.0), interpolation=interpolation)
    differences, flips = [], []
    for seed in range(30):
        image = PHOTOGRAPHS[seed % 3]
        samples = []
        for pipeline in (theirs(scale, **options), ours(scale, **options)):
            np.random.seed(seed)  # noqa: NPY002
            samples.append(pipeline(dict(img=image.copy(), img_path='x')))
        expected, found = (sample['inputs'].int() for sample in samples)
        differences.append((expected - found).abs())
        flip, same = (sample['data_samples'].flip for sample in samples)
        assert flip == same and samples[1]['data_samples'].img_shape == expected.shape[1:]
        flips.append(flip)
    assert 5 < sum(flips) < 25
    differences = torch.cat([difference.flatten() for difference in differences]).float()
    # Of 255: mostly 0.002 to 0.02. Where a crop is enlarged, overshooting edges differ by up to 10.
    assert differences.mean() < 0.05 and differences.max() <= (
        10 if interpolation == 'bicubic' else 1
    )


@pytest.mark.parametrize('size', [(375, 500), (30, 900), (900, 30), (2, 3), (1, 1)], ids=str)
@pytest.mark.parametrize('areas', [(0.2, 1.0), (0.9, 1.0)], ids=str)
def test_the_same_boxes_as_mmpretrain(size, areas):
    """Also where ten attempts find none, and the crop in the middle is taken."""
    image = np.empty((*size, 3), np.uint8)
    boxes = []
    for kind in (CropOfMMPretrain, RandomResizedCrop):
        crop = kind(64, crop_ratio_range=areas)
        np.random.seed(0)  # noqa: NPY002
        boxes.append([crop.rand_crop_params(image) for _ in range(2000)])
    assert boxes[0] == boxes[1]


def test_boxes_have_the_distribution_of_the_paper():
    """Area and logarithm of the aspect ratio are uniform where the crop cannot hit the border."""
    crop = RandomResizedCrop(64, crop_ratio_range=(0.1, 0.4))
    np.random.seed(0)  # noqa: NPY002
    image = np.empty((1000, 1000, 3), np.uint8)
    boxes = np.array([crop.rand_crop_params(image) for _ in range(3000)], float)
    top, left, height, width = boxes.T
    assert kstest(height * width / 1e6, 'uniform', (0.1, 0.3)).pvalue > 0.01
    ratios = np.log(width / height)
    assert kstest(ratios, 'uniform', (log(3 / 4), 2 * log(4 / 3))).pvalue > 0.01
    assert kstest(top / (1000 - height), 'uniform').pvalue > 0.01
    assert kstest(left / (1000 - width), 'uniform').pvalue > 0.01


def test_boxes_have_the_distribution_of_torchvision():
    crop = RandomResizedCrop(64, crop_ratio_range=(0.2, 1.0))
    np.random.seed(0)  # noqa: NPY002
    torch.manual_seed(0)
    image, tensor = np.empty((375, 500, 3), np.uint8), torch.empty(3, 375, 500)
    boxes = np.array([crop.rand_crop_params(image) for _ in range(3000)])
    other = np.array(
        [TorchvisionCrop.get_params(tensor, (0.2, 1.0), (3 / 4, 4 / 3)) for _ in range(3000)]
    )
    for column in range(4):
        assert ks_2samp(boxes[:, column], other[:, column]).pvalue > 0.01


@pytest.mark.parametrize('flip_prob', [0, 1])
def test_packing_copies_nothing(flip_prob):
    sample = RandomResizedCrop(64, flip_prob=flip_prob)(dict(img=PHOTOGRAPHS[0]))
    image = sample['img']
    assert image.shape == (64, 64, 3) and image.dtype == np.uint8 and sample['flip'] == flip_prob
    packed = Compose([PACK])(sample)['inputs']
    assert packed.is_contiguous() and packed.data_ptr() == image.__array_interface__['data'][0]


def test_the_image_is_left_as_it_was():
    image = PHOTOGRAPHS[0].copy()
    RandomResizedCrop(64, flip_prob=1.0)(dict(img=image))
    np.testing.assert_array_equal(image, PHOTOGRAPHS[0])


@pytest.mark.parametrize('channels', [1, 3, 4, 13])
def test_any_number_of_channels(channels):
    image = np.random.default_rng(0).integers(0, 256, (40, 50, channels), np.uint8)
    for flip_prob in (0, 1):
        crop = RandomResizedCrop(32, flip_prob=flip_prob)(dict(img=image))['img']
        assert crop.shape == (32, 32, channels)


def test_decoding_leaves_enough_pixels_for_the_smallest_crop(tmp_path):
    crop = RandomResizedCrop(64, crop_ratio_range=(0.25, 1.0), aspect_ratio_range=(1, 1))
    assert crop.least_side == 128  # a quarter of the area is half of the side
    crop = RandomResizedCrop((64, 32), crop_ratio_range=(0.25, 1.0), aspect_ratio_range=(1, 4))
    assert crop.least_side == 256  # the widest crop is half as high as a square one
    assert RandomResizedCrop(224, crop_ratio_range=(0.2, 1.0)).least_side == 579

    Image.new('RGB', (1024, 512)).save(tmp_path / 'a.jpg')
    for scale, size in ((64, (256, 512)), (128, (512, 1024))):  # 166 and 331 px are needed
        config = dict(type='mmmask.RandomResizedCrop', scale=scale, crop_ratio_range=(0.2, 1.0))
        sample = ImageFolder(tmp_path, pipeline=[config, PACK])[0]['data_samples']
        assert sample.ori_shape == size and sample.img_shape == (scale, scale)
    assert ImageFolder(tmp_path, pipeline=[config], least_side=64)[0]['ori_shape'] == (64, 128)


def test_resizing_is_that_of_pillow():
    image = PHOTOGRAPHS[1]
    for size, resample in (('bicubic', Image.BICUBIC), ('bilinear', Image.BILINEAR)):
        expected = np.asarray(Image.fromarray(image).resize((100, 70), resample)).astype(int)
        difference = np.abs(resize_image(image, (70, 100), size) - expected)
        assert difference.mean() < 0.02 and difference.max() <= 3


def test_shrinking_keeps_small_images_and_ratios():
    image = PHOTOGRAPHS[0]  # 300 x 451
    assert shrink_image(image, 300) is image
    assert shrink_image(image, 100).shape == (100, 150, 3)
    assert shrink_image(image.transpose(1, 0, 2), 1).shape == (2, 1, 3)


def test_other_values_are_refused():
    with pytest.raises(ValueError, match="interpolation='nearest' is not 'bicubic' or 'bilinear'"):
        RandomResizedCrop(64, interpolation='nearest')
    with pytest.raises(ValueError, match='flip_prob=50 must lie in'):
        RandomResizedCrop(64, flip_prob=50)

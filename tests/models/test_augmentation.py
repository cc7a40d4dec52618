"""Augmentation on the device has the distributions of the pipeline on the CPU."""

import numpy as np
import pytest
import torch
from conftest import ROOT
from mmengine.config import Config
from mmengine.dataset import Compose
from scipy import stats

from mmmask.models.augmentation import view_augmentation
from mmmask.registry import MODELS

pytest.importorskip('kornia', reason="augments on the device: pip install 'mmmask[augment]'")
NUMBER = 4000
OFF = dict(flip=0.0, jitter=0.0, grayscale=0.0, blur=0.0, solarize=0.0)


def close_to(probability: float):
    """Five standard errors of a fraction of NUMBER."""
    return pytest.approx(probability, abs=5 * (probability * (1 - probability) / NUMBER) ** 0.5)


def augment(images, seed=0, **options):
    torch.manual_seed(seed)
    return view_augmentation(**(OFF | options))(images)


def in_the_pipeline(image, names, seed=0):
    """uint8 BGR (H, W, 3) -> NUMBER results of the named transforms of BYOL's second view."""
    config = ROOT / 'configs/maskdeep/maskdeep_resnet-50_16xb256-amp-coslr-200e_in1k.py'
    view = Config.fromfile(config).view2
    kept = [step for step in view if step.type.split('.')[1] in names]
    assert len(kept) == len(names)
    pipeline = Compose(kept)
    np.random.seed(seed)  # noqa: NPY002  the random state of the transforms
    return np.stack([pipeline(dict(img=image.copy()))['img'] for _ in range(NUMBER)])


def test_without_any_augmentation_images_do_not_change():
    images = torch.rand(3, 3, 16, 16)
    torch.testing.assert_close(augment(images), images)


def test_frequency_of_flips():
    images = torch.zeros(NUMBER, 3, 1, 2)
    images[..., 0] = 1
    on_device = augment(images, flip=0.5)[:, 0, 0, 1].mean().item()
    image = np.zeros((1, 2, 3), np.uint8)
    image[:, 0] = 255
    in_pipeline = (in_the_pipeline(image, ['RandomFlip'])[:, 0, 1, 0] > 0).mean()
    assert on_device == close_to(0.5) and in_pipeline == close_to(0.5)


def test_frequency_and_weights_of_greyscale():
    colour = torch.tensor([0.8, 0.4, 0.2])
    result = augment(colour.view(1, 3, 1, 1).expand(NUMBER, 3, 2, 2), grayscale=0.2)[:, :, 0, 0]
    is_grey = result.std(dim=1) < 1e-4
    assert is_grey.float().mean().item() == close_to(0.2)
    expected = 0.2989 * 0.8 + 0.587 * 0.4 + 0.114 * 0.2
    assert result[is_grey].mean().item() == pytest.approx(expected, abs=2e-3)
    image = np.full((2, 2, 3), (51, 102, 204), np.uint8)  # BGR
    pixels = in_the_pipeline(image, ['RandomGrayscale'])[:, 0, 0].astype(float)
    is_grey = pixels.std(axis=1) < 0.5
    assert is_grey.mean() == close_to(0.2)
    assert pixels[is_grey].mean() / 255 == pytest.approx(expected, abs=5e-3)


def test_frequency_and_threshold_of_solarization():
    values = torch.tensor([127 / 255, 128 / 255]).view(1, 1, 1, 2).expand(NUMBER, 3, 1, 2)
    result = (augment(values, solarize=0.2) * 255).round()[:, 0, 0]
    assert (result[:, 0] == 127).all()
    assert (result[:, 1] == 127).float().mean().item() == close_to(0.2)
    image = np.full((1, 2, 3), 127, np.uint8)
    image[:, 1] = 128
    pixels = in_the_pipeline(image, ['Solarize'])[:, 0, :, 0]
    assert (pixels[:, 0] == 127).all()
    assert (pixels[:, 1] == 127).mean() == close_to(0.2)


def test_blur_has_the_same_widths():
    """The centre of a bright dot reveals the standard deviation, which is uniform in 0.1 to 2."""
    images = torch.zeros(NUMBER, 3, 17, 17)
    images[..., 8, 8] = 1
    on_device = augment(images, blur=1.0)[:, 0, 8, 8].numpy()
    assert (augment(images, blur=0.1)[:, 0, 8, 8] < 0.99).float().mean().item() < 0.13
    # The centre decreases with the deviation, so its median is that of deviation 1.05.
    grid = torch.arange(-8, 9.0)
    weights = (-(grid**2) / (2 * 1.05**2)).exp()
    assert np.median(on_device) == pytest.approx((weights[8] / weights.sum()).item() ** 2, rel=0.08)
    assert on_device.max() > 0.99 and on_device.min() == pytest.approx(0.04, abs=0.005)


def test_jitter_has_the_same_brightness():
    """On constant grey, saturation, hue and contrast have no effect; the mean is scaled."""
    images = torch.full((NUMBER, 3, 2, 2), 0.5)
    options = dict(jitter=0.8, saturation=0.2, hue=0.1, brightness=0.4, contrast=0.4)
    on_device = augment(images, **options)[:, 0, 0, 0].numpy() / 0.5
    image = np.full((2, 2, 3), 128, np.uint8)
    pixels = in_the_pipeline(image, ['RandomApply'])[:, 0, 0, 0] / 128
    for factors in (on_device, pixels):
        assert (np.abs(factors - 1) < 1e-3).mean() == pytest.approx(0.2, abs=0.04)
        changed = factors[np.abs(factors - 1) > 1e-3]
        assert stats.kstest(changed, stats.uniform(0.6, 0.8).cdf).statistic < 0.04


def test_crops_cover_the_same_areas():
    """The mean gradient of a ramp reveals the width and height of a crop, hence its area."""
    ramp = torch.linspace(0, 1, 64).expand(64, 64)
    images = torch.stack([ramp, ramp.T, ramp]).expand(NUMBER, -1, -1, -1)
    crops = augment(images, size=16)
    assert crops.shape == (NUMBER, 3, 16, 16)
    slopes = [
        (crops[:, 0, :, 12] - crops[:, 0, :, 3]).mean(1) / 9,
        (crops[:, 1, 12] - crops[:, 1, 3]).mean(1) / 9,
    ]
    # A crop of w pixels has a slope of w / 63 over 16 output pixels.
    width, height = (slope * 16 * 63 for slope in slopes)
    area = (width * height / 64**2).numpy()
    assert area.min() > 0.06 and area.max() < 1.02
    # Uniform in 0.08 to 1, except that large oblong crops do not fit and are sampled again.
    reference = np.array([_crop_area() for _ in range(NUMBER)])
    assert stats.ks_2samp(area, reference).statistic < 0.05


def _crop_area(random=np.random.default_rng(0)) -> float:  # noqa: B008  one stream for all calls
    """The rule of torchvision, which mmpretrain follows: ten attempts."""
    for _ in range(10):
        area = random.uniform(0.08, 1) * 64 * 64
        ratio = np.exp(random.uniform(np.log(3 / 4), np.log(4 / 3)))
        width, height = round((area * ratio) ** 0.5), round((area / ratio) ** 0.5)
        if width <= 64 and height <= 64:
            return width * height / 64**2
    return 1.0


@pytest.fixture
def preprocessor():
    return MODELS.build(
        dict(
            type='mmmask.AugmentingDataPreprocessor',
            views=[OFF, OFF | dict(flip=1.0)],
            mean=[10.0, 20.0, 30.0],
            std=[1.0, 2.0, 3.0],
            bgr_to_rgb=True,
        )
    )


def test_views_are_made_of_one_batch_and_normalised(preprocessor):
    images = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    first, second = preprocessor(dict(inputs=images, data_samples=None), training=True)['inputs']
    expected = (images.flip(1).float() - preprocessor.mean) / preprocessor.std
    torch.testing.assert_close(first, expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(second, expected.flip(-1), atol=1e-4, rtol=1e-4)
    plain = preprocessor(dict(inputs=images, data_samples=None), training=False)['inputs']
    torch.testing.assert_close(plain, expected)


def test_each_view_of_the_loader_has_its_own_augmentation(preprocessor):
    views = [torch.full((1, 3, 4, 4), value) for value in (10.0, 20.0)]
    first, second = preprocessor(dict(inputs=views, data_samples=None), training=True)['inputs']
    assert first[0, 0, 0, 0].item() == pytest.approx(0, abs=1e-4)
    assert second[0, 1, 0, 0].item() == pytest.approx(0, abs=1e-4)
    with pytest.raises(ValueError, match='provides 1 views but data_preprocessor.views has 2'):
        preprocessor(dict(inputs=views[:1], data_samples=None), training=True)


def test_each_image_has_its_own_parameters():
    images = torch.rand(1, 3, 8, 8).expand(16, -1, -1, -1)
    result = augment(images, jitter=1.0)
    assert len({tuple(image.flatten()[:4].tolist()) for image in result}) == 16

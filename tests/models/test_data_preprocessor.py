"""Normalisation of any number of channels."""

import pytest
import torch

from mmmask.models import AugmentingDataPreprocessor, DataPreprocessor


@pytest.mark.parametrize('channels', [1, 2, 4, 13])
def test_each_channel_has_its_mean_and_std(channels):
    mean, std = torch.arange(channels) + 10.0, torch.arange(channels) + 2.0
    images = torch.rand(2, channels, 4, 5) * 255
    expected = (images - mean[:, None, None]) / std[:, None, None]
    preprocessor = DataPreprocessor(mean.tolist(), std.tolist())
    for inputs in (images, [images, images]):
        result = preprocessor(dict(inputs=inputs, data_samples=None))['inputs']
        for view in result if isinstance(result, list) else [result]:
            torch.testing.assert_close(view, expected)


def test_colours_are_reordered():
    images = torch.tensor([3.0, 2.0, 1.0]).view(1, 3, 1, 1)
    preprocessor = DataPreprocessor([1, 2, 3], [1, 1, 1], bgr_to_rgb=True)
    assert preprocessor(dict(inputs=images, data_samples=None))['inputs'].abs().max() == 0


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(mean=[1, 2], std=[1]), 'must have equally many values'),
        (dict(mean=[1, 2]), 'must have equally many values'),
        (dict(mean=[1, 2], std=[1, 0]), r'std=\[1, 0\] must be above 0'),
        (
            dict(mean=[1] * 4, std=[1] * 4, bgr_to_rgb=True),
            'three colours, but mean has 4',
        ),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        DataPreprocessor(**options)


def test_augmentation_of_many_channels_on_the_device():
    pytest.importorskip('kornia', reason="augments on the device: pip install 'mmmask[augment]'")
    options = dict(mean=[127.0] * 5, std=[64.0] * 5, size=8)
    with pytest.raises(ValueError, match=r'views.1.grayscale changes three colours'):
        AugmentingDataPreprocessor(views=[dict(jitter=0, grayscale=0), dict(jitter=0)], **options)
    preprocessor = AugmentingDataPreprocessor(views=[dict(jitter=0, grayscale=0)] * 2, **options)
    images = torch.full((2, 5, 16, 16), 191.0)
    views = preprocessor(dict(inputs=images, data_samples=None), True)['inputs']
    for view in views:
        torch.testing.assert_close(view, torch.ones(2, 5, 8, 8), atol=1e-3, rtol=0)

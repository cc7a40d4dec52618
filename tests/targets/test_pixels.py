"""Pixel targets against hand-computed numbers."""

import math

import numpy as np
import pytest
import torch

from mmmask.layers import unpatchify
from mmmask.losses import masked_mean_squared_error
from mmmask.targets import PixelTarget

SIZES = [(160, 160), (192, 192), (224, 224), (384, 384), (96, 224), (224, 160)]


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def test_a_patch_by_hand():
    # Two patches of 2x2 px, one channel: 1 2 3 4 has mean 2.5 and unbiased variance 5/3.
    images = torch.tensor([[[[1.0, 2.0, 7.0, 7.0], [3.0, 4.0, 7.0, 7.0]]]])
    assert PixelTarget(2, normalize=False)(images).tolist() == [[[1, 2, 3, 4], [7, 7, 7, 7]]]
    deviation = math.sqrt(5 / 3 + 1e-6)
    expected = [[value / deviation for value in (-1.5, -0.5, 0.5, 1.5)], [0, 0, 0, 0]]
    torch.testing.assert_close(PixelTarget(2)(images), torch.tensor([expected]))


def test_vectors_are_row_column_channel_with_channel_fastest():
    # A value encodes its position: 100 · channel + 10 · row + column.
    places = [[[100 * c + 10 * y + x for x in range(6)] for y in range(4)] for c in range(3)]
    values = PixelTarget(2, normalize=False)(torch.tensor([places], dtype=torch.float32))
    assert values.shape == (1, 6, 12)
    # Row 1, column 2 of the 2x3 grid starts at pixel (2, 4).
    assert values[0, 5].tolist() == [24, 124, 224, 25, 125, 225, 34, 134, 234, 35, 135, 235]


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('patch_size', [8, 16, 32])
def test_against_numpy(size, patch_size):
    images = noise(2, 3, *size)
    rows = [
        image[:, y : y + patch_size, x : x + patch_size].transpose(1, 2, 0).ravel()
        for image in images.double().numpy()
        for y in range(0, size[0], patch_size)
        for x in range(0, size[1], patch_size)
    ]
    patches = np.stack(rows).reshape(2, -1, 3 * patch_size**2)
    variance = patches.var(-1, ddof=1, keepdims=True)
    expected = (patches - patches.mean(-1, keepdims=True)) / np.sqrt(variance + 1e-6)
    np.testing.assert_allclose(PixelTarget(patch_size)(images).numpy(), expected, atol=1e-5)


def test_zero_predictions_of_several_scales():
    # A standardised vector of D values has a mean square of (D - 1) / D.
    targets = PixelTarget((8, 16, 32, 32))(noise(2, 3, 224, 224))
    losses = [
        masked_mean_squared_error(torch.zeros_like(t), t, torch.ones(t.shape[:2])) for t in targets
    ]
    expected = [191 / 192, 767 / 768, 3071 / 3072, 3071 / 3072]
    torch.testing.assert_close(torch.stack(losses), torch.tensor(expected), atol=1e-5, rtol=0)
    assert sum(losses).item() == pytest.approx(3.9928, abs=5e-5)


@pytest.mark.parametrize('normalize', [True, False])
@pytest.mark.parametrize('size', SIZES[-2:])
def test_restore_inverts_the_target(size, normalize):
    images = noise(2, 3, *size)
    generator = PixelTarget((8, 16), normalize)
    for restored in generator.restore(generator(images), images):
        torch.testing.assert_close(restored, images, atol=1e-5, rtol=0)
    single = PixelTarget(16, normalize)
    torch.testing.assert_close(single.restore(single(images), images), images, atol=1e-5, rtol=0)


def test_a_zero_prediction_restores_to_the_mean_of_each_patch():
    images = noise(1, 3, 32, 64)
    restored = PixelTarget(16).restore(torch.zeros(1, 8, 768), images)
    means = images.unflatten(3, (4, 16)).unflatten(2, (2, 16)).mean((1, 3, 5))
    expected = unpatchify(means.reshape(1, 8, 1).expand(1, 8, 768), (2, 4), 16)
    torch.testing.assert_close(restored, expected)


def test_fp32_and_no_gradient_under_autocast_too():
    images = noise(2, 3, 32, 32).requires_grad_()
    expected = PixelTarget(16)(images)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        target = PixelTarget(16)(images)
    assert target.dtype == torch.float32
    assert not target.requires_grad
    assert torch.equal(target, expected)


def test_image_sizes_that_patches_do_not_divide_are_errors():
    with pytest.raises(ValueError, match='96x100 px .* patches of 16 px'):
        PixelTarget((4, 16))(torch.zeros(1, 3, 96, 100))

import numpy as np
import pytest
import torch
from torch import nn

from mmmask.layers import AveragePool2x, Upsample2x, patchify, sincos_position_embedding, unpatchify


def numpy_table(height, width, dims):
    """The formula of MAE: columns in the first half of the channels, rows in the second."""
    table = np.zeros((height, width, dims))
    for index in range(dims // 4):
        frequency = 1 / 10000 ** (index / (dims / 4))
        for row in range(height):
            for column in range(width):
                table[row, column, index] = np.sin(column * frequency)
                table[row, column, dims // 4 + index] = np.cos(column * frequency)
                table[row, column, dims // 2 + index] = np.sin(row * frequency)
                table[row, column, 3 * dims // 4 + index] = np.cos(row * frequency)
    return table.reshape(height * width, dims)


@pytest.mark.parametrize('grid', [(4, 4), (3, 5)])
def test_position_table_equals_that_of_mae(grid):
    table = sincos_position_embedding(grid, 16, class_token=True)
    assert table[0, 0].tolist() == [0] * 16
    np.testing.assert_allclose(table[0, 1:], numpy_table(*grid, 16), atol=1e-6)


def test_position_table_needs_a_width_divisible_by_four():
    with pytest.raises(ValueError, match='width=18 must be a multiple of 4'):
        sincos_position_embedding((2, 2), 18)


def test_patch_vectors_run_over_rows_columns_channels():
    images = torch.arange(2 * 3 * 4 * 6.0).view(2, 3, 4, 6)
    patches = patchify(images, 2)
    assert patches.shape == (2, 6, 12)
    assert patches[1, 4].tolist() == [
        images[1, channel, row, column].item()
        for row in (2, 3)
        for column in (2, 3)
        for channel in range(3)
    ]
    assert torch.equal(unpatchify(patches, (2, 3), 2), images)


def test_patches_must_divide_the_image():
    with pytest.raises(ValueError, match='images of 4x6 px cannot be cut into patches of 4 px'):
        patchify(torch.zeros(1, 3, 4, 6), 4)


def test_upsampling_equals_the_transposed_convolution():
    layer = Upsample2x(6, 5).double()
    maps = torch.randn(2, 3, 4, 6, dtype=torch.float64, requires_grad=True)
    expected = nn.ConvTranspose2d.forward(layer, maps.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    torch.testing.assert_close(layer(maps), expected)
    weight = torch.randn_like(expected)
    gradient, reference = (
        torch.autograd.grad((output * weight).sum(), [maps, layer.weight, layer.bias])
        for output in (layer(maps), expected)
    )
    for ours, theirs in zip(gradient, reference, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_pooling_takes_the_mean_of_two_by_two():
    maps = torch.randn(2, 4, 6, 5)
    expected = nn.functional.avg_pool2d(maps.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)
    torch.testing.assert_close(AveragePool2x()(maps), expected)
    with pytest.raises(ValueError, match='3x4 patch grid cannot be halved'):
        AveragePool2x()(torch.zeros(1, 3, 4, 2))

"""HOG targets against hand-computed numbers and a plain reference."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate

from mmmask.losses import masked_mean_squared_error
from mmmask.targets import HOGTarget
from mmmask.targets.hog import cell_histograms, sobel_gradients

ROWS, COLUMNS = np.mgrid[:64, :64].astype(np.float32)
SIZES = [(160, 160), (224, 224), (384, 384), (96, 224), (160, 64)]


def texture(*shape: int) -> torch.Tensor:
    """Noise with sixteen integer levels: gradients and bins are equal in fp32 and fp64."""
    return torch.randint(16, shape, generator=torch.Generator().manual_seed(0)).float()


def reference(channel: np.ndarray, num_bins: int, cell: int, bias=(0.0, 0.0)) -> np.ndarray:
    """(H, W) in fp64 -> (N, num_bins): one channel, one scale."""
    sobel = np.array([[1, 0, -1], [2, 0, -2], [1, 0, -1]])
    gx = correlate(channel, sobel, mode='mirror') + bias[0]
    gy = correlate(channel, sobel.T, mode='mirror') + bias[1]
    bins = np.floor(np.arctan2(gx, gy) / np.pi * num_bins).astype(int) % num_bins
    rows, columns = np.indices(channel.shape) // cell
    histograms = np.zeros((rows.max() + 1, columns.max() + 1, num_bins))
    np.add.at(histograms, (rows, columns, bins), np.sqrt(gx**2 + gy**2) / cell**2)
    histograms = histograms.reshape(-1, num_bins)
    return histograms / np.maximum(np.linalg.norm(histograms, axis=1, keepdims=True), 1e-12)


def assert_equals_reference(generator: HOGTarget, images: torch.Tensor) -> None:
    targets = generator(images)
    bias = np.zeros((len(targets), 2)) if generator.bias is None else generator.bias.numpy()
    for target, cell, pair in zip(targets, generator.cell_sizes, bias, strict=True):
        expected = [
            np.concatenate([reference(c, generator.num_bins, cell, pair) for c in image], axis=1)
            for image in images.double().numpy()
        ]
        np.testing.assert_allclose(target.numpy(), expected, atol=1e-5)


def one_hot(bin_: int, num_bins: int) -> torch.Tensor:
    return torch.eye(num_bins)[bin_]


@pytest.mark.parametrize(
    ('image', 'gradient', 'bin_of_9', 'bin_of_18'),
    [
        (COLUMNS, (-8, 0), 4, 9),
        (-COLUMNS, (8, 0), 4, 9),
        (ROWS, (0, -8), 0, 0),
        (-ROWS, (0, 8), 0, 0),
        (ROWS + COLUMNS, (-8, -8), 2, 4),
        (-ROWS - COLUMNS, (8, 8), 2, 4),
        (COLUMNS - ROWS, (-8, 8), 6, 13),
        (ROWS - COLUMNS, (8, -8), 6, 13),
    ],
)
def test_the_bin_of_a_ramp(image, gradient, bin_of_9, bin_of_18):
    images = torch.from_numpy(image)[None, None]
    gx, gy = sobel_gradients(images)
    assert (gx[0, 0, 1:-1, 1:-1] == gradient[0]).all()
    assert (gy[0, 0, 1:-1, 1:-1] == gradient[1]).all()
    for num_bins, expected in ((9, bin_of_9), (18, bin_of_18)):
        for target in HOGTarget(num_bins, (4, 8, 16))(images):
            side = math.isqrt(target.shape[1])
            interior = target.unflatten(1, (side, side))[0, 1:-1, 1:-1]
            torch.testing.assert_close(
                interior, one_hot(expected, num_bins).expand_as(interior), atol=1e-6, rtol=0
            )


def test_reflect_padding_in_a_corner():
    images = torch.from_numpy(ROWS + COLUMNS)[None, None]
    expected = torch.zeros(9)
    # Of 16x16 px, 15x15 are interior with gradient (-8, -8); 15 of the first row have (-8, 0), 15
    # of the first column (0, -8), and the corner itself is flat.
    expected[[0, 2, 4]] = torch.tensor([15 * 8, 225 * 8 * math.sqrt(2), 15 * 8])
    expected /= expected.norm()
    torch.testing.assert_close(HOGTarget(cell_sizes=16)(images)[0, 0], expected)
    torch.testing.assert_close(
        expected[[0, 2, 4]], torch.tensor([0.047, 0.9978, 0.047]), atol=5e-4, rtol=0
    )


@pytest.mark.parametrize('level', [0.0, 0.1, -1.7])
def test_a_flat_image_has_no_orientation(level):
    for target in HOGTarget()(torch.full((1, 3, 64, 64), level)):
        assert (target == 0).all()


def test_bias_selects_one_bin_in_a_flat_image():
    torch.manual_seed(0)
    generator = HOGTarget(num_bins=18, bias=True)
    targets = generator(torch.full((2, 3, 64, 64), 0.1))
    losses = []
    for target, (gx, gy) in zip(targets, generator.bias.tolist(), strict=True):
        expected = one_hot(math.floor(math.atan2(gx, gy) / math.pi * 18) % 18, 18).repeat(3)
        torch.testing.assert_close(target, expected.expand_as(target), atol=1e-6, rtol=0)
        zeros = torch.zeros_like(target)
        losses.append(masked_mean_squared_error(zeros, target, torch.ones(target.shape[:2])))
    assert sum(losses).item() == pytest.approx(4 / 18, abs=1e-6)


def test_bias_is_one_random_pair_per_scale_in_the_state_dict():
    torch.manual_seed(0)
    generator = HOGTarget(cell_sizes=(4,) * 1000, bias=True)
    pairs = generator.state_dict()['bias']
    assert list(generator.parameters()) == []
    assert pairs.shape == (1000, 2)
    # Uniform in ±1/3: standard deviation 1/√27; the mean of 2000 values has 0.0043.
    assert 0.33 < pairs.abs().max() <= 1 / 3
    assert pairs.std().item() == pytest.approx(27**-0.5, rel=0.03)
    assert abs(pairs.mean().item()) < 0.015
    assert HOGTarget().state_dict() == {}

    source, copy = HOGTarget(bias=True), HOGTarget(bias=True)
    images = texture(1, 3, 32, 32)
    assert not torch.equal(source(images)[0], copy(images)[0])
    copy.load_state_dict(source.state_dict())
    for ours, theirs in zip(source(images), copy(images), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize('num_bins', [9, 18])
@pytest.mark.parametrize('ratio', [0.25, 0.75])
def test_zero_predictions_have_a_loss_of_one_over_num_bins_per_scale(photographs, num_bins, ratio):
    torch.manual_seed(0)
    losses = []
    for target in HOGTarget(num_bins)(photographs[:2] + 0.01 * torch.randn(2, 3, 224, 224)):
        norms = target.unflatten(2, (3, num_bins)).norm(dim=-1)
        torch.testing.assert_close(norms, torch.ones_like(norms))
        weight = (torch.rand(target.shape[:2]) < ratio).float()
        losses.append(masked_mean_squared_error(torch.zeros_like(target), target, weight))
    assert sum(losses).item() == pytest.approx(4 / num_bins, abs=1e-5)


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('num_bins', [9, 18])
@pytest.mark.parametrize('bias', [False, True])
@pytest.mark.parametrize('channels', [1, 3])
def test_against_the_reference(size, num_bins, bias, channels):
    torch.manual_seed(0)
    assert_equals_reference(HOGTarget(num_bins, bias=bias), texture(1, channels, *size))


@pytest.mark.parametrize('bias', [False, True])
@pytest.mark.parametrize(
    ('cell_sizes', 'size'),
    [
        ((2, 4, 8, 16), (64, 64)),
        ((8, 16, 32, 32), (96, 64)),
        ((32, 8, 8, 16), (96, 64)),
        ((6, 4, 12, 2), (24, 36)),
        ((1, 5, 10, 4), (20, 40)),
    ],
)
def test_any_cells_against_the_reference(cell_sizes, size, bias):
    torch.manual_seed(0)
    assert_equals_reference(HOGTarget(9, cell_sizes, bias), texture(3, 3, *size))


def test_photographs_against_the_reference(photographs):
    assert_equals_reference(HOGTarget(), (photographs * 32).round())


@pytest.mark.parametrize('bias', [False, True])
def test_fp32_and_no_gradient_under_autocast_too(photographs, bias):
    generator = HOGTarget(bias=bias)
    images = photographs.clone().requires_grad_()
    expected = generator(images)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        targets = generator(images)
    for target, plain in zip(targets, expected, strict=True):
        assert target.dtype == torch.float32
        assert not target.requires_grad
        assert torch.equal(target, plain)


def test_images_in_half_precision_are_accepted(photographs):
    images = photographs[:1].bfloat16()
    for half, full in zip(HOGTarget()(images), HOGTarget()(images.float()), strict=True):
        assert torch.equal(half, full)


def test_images_do_not_depend_on_their_batch(photographs):
    together = HOGTarget()(photographs)
    for index in range(4):
        for scale, alone in enumerate(HOGTarget()(photographs[index : index + 1])):
            assert torch.equal(together[scale][index : index + 1], alone)


def test_a_single_cell_size_gives_a_tensor():
    images = texture(2, 3, 64, 64)
    assert torch.equal(HOGTarget(cell_sizes=4)(images), HOGTarget(cell_sizes=(4, 8))(images)[0])
    assert isinstance(HOGTarget(cell_sizes=(8,))(images), tuple)


def test_one_gradient_pass_for_all_scales(monkeypatch):
    from mmmask.targets import hog

    calls = []
    for function in (sobel_gradients, cell_histograms):

        def count(*args, function=function):
            calls.append(function.__name__)
            return function(*args)

        monkeypatch.setattr(hog, function.__name__, count)
    HOGTarget(cell_sizes=(8, 16, 32, 32, 4))(texture(1, 3, 64, 64))
    assert calls == ['sobel_gradients', 'cell_histograms']
    calls.clear()
    HOGTarget(cell_sizes=(8, 16, 32, 32), bias=True)(texture(1, 3, 64, 64))
    assert calls == ['sobel_gradients'] + ['cell_histograms'] * 4


def test_a_nan_pixel_affects_only_its_own_cells():
    images = texture(1, 1, 32, 32)
    expected = HOGTarget(cell_sizes=8)(images)
    images[0, 0, 4, 4] = math.nan
    images[0, 0, 28, 28] = math.inf
    target = HOGTarget(cell_sizes=8)(images)
    broken = torch.zeros(16, dtype=torch.bool)
    broken[[0, 15]] = True
    assert target[0, broken].isnan().any(dim=-1).all()
    assert torch.equal(target[0, ~broken], expected[0, ~broken])


def test_the_target_compiles_to_one_graph(photographs):
    torch.manual_seed(0)
    for bias in (False, True):
        generator = HOGTarget(bias=bias)
        compiled = torch.compile(generator, backend='eager', fullgraph=True)
        for ours, theirs in zip(compiled(photographs), generator(photographs), strict=True):
            assert torch.equal(ours, theirs)


@pytest.mark.parametrize('size', [(64, 100), (100, 64)])
def test_image_sizes_that_cells_do_not_divide_are_errors(size):
    message = f'{size[0]}x{size[1]} px .* cells of 8 px .* multiples of every size'
    with pytest.raises(ValueError, match=message):
        HOGTarget(cell_sizes=(4, 8, 16))(torch.zeros(1, 3, *size))


@pytest.mark.parametrize(
    'wrong', [dict(num_bins=0), dict(cell_sizes=()), dict(cell_sizes=(4, 0)), dict(cell_sizes=-1)]
)
def test_invalid_options_are_errors(wrong):
    with pytest.raises(ValueError, match='must be positive'):
        HOGTarget(**wrong)


@pytest.mark.parametrize('channels', [1, 3, 13])
def test_the_strongest_gradient_of_all_channels(channels):
    images = texture(2, channels, 32, 48)
    generator = HOGTarget(9, (4, 8), strongest=True)
    assert generator.channels(channels) == (9, 9) and HOGTarget(9, 4).channels(13) == 117
    for target, cell in zip(generator(images), (4, 8), strict=True):
        expected = [strongest_reference(image, 9, cell) for image in images.double().numpy()]
        np.testing.assert_allclose(target.numpy(), expected, atol=1e-5)


def strongest_reference(image: np.ndarray, num_bins: int, cell: int) -> np.ndarray:
    """(C, H, W) in fp64 -> (N, num_bins)."""
    sobel = np.array([[1, 0, -1], [2, 0, -2], [1, 0, -1]])
    gx, gy = (
        np.stack([correlate(channel, kernel, mode='mirror') for channel in image])
        for kernel in (sobel, sobel.T)
    )
    histograms = np.zeros((image.shape[1] // cell, image.shape[2] // cell, num_bins))
    for row, column in np.ndindex(image.shape[1:]):
        x, y = max(
            zip(gx[:, row, column], gy[:, row, column], strict=True), key=lambda g: math.hypot(*g)
        )
        bin_ = int(np.floor(np.arctan2(x, y) / np.pi * num_bins)) % num_bins
        histograms[row // cell, column // cell, bin_] += math.hypot(x, y)
    histograms = histograms.reshape(-1, num_bins)
    return histograms / np.maximum(np.linalg.norm(histograms, axis=1, keepdims=True), 1e-12)

from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

from mmmask import visualization
from mmmask.masking import Mask, RandomMask, keep_all
from mmmask.targets import HOGTarget, PixelTarget
from mmmask.visualization import (
    GAP,
    HIDDEN_PATCH,
    NIGHT,
    OUTLINES,
    PREDICTED_PATCH,
    draw_hog,
    draw_reconstruction,
    hide_patches,
    principal_colors,
    show_blocks,
    to_pixels,
)

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


class Reconstruction(NamedTuple):
    images: torch.Tensor
    mask: Mask
    prediction: tuple[torch.Tensor, ...]
    target: tuple[torch.Tensor, ...]


def edge_image(degrees, size=48):
    """A grey image with isolines in this direction, counter-clockwise from the right."""
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing='ij')
    radians = np.deg2rad(degrees)
    distance = x * np.sin(radians) + y * np.cos(radians)
    return torch.sin(distance / 5)[None, None].float()


def stroke_direction(brightness):
    """The direction in degrees, counter-clockwise from the right, in which a glyph is long."""
    y, x = np.indices(brightness.shape) - (len(brightness) - 1) / 2
    spread = np.array([[(brightness * a * b).sum() for b in (x, -y)] for a in (x, -y)])
    longest = np.linalg.eigh(spread)[1][:, -1]
    return np.rad2deg(np.arctan2(longest[1], longest[0])) % 180


class TestHOG:
    def glyph(self, image, num_bins=9):
        target = HOGTarget(num_bins, 16)(image)[0].view(3, 3, -1)
        return draw_hog(target.numpy(), 32)[32:64, 32:64]  # the cell in the middle

    def test_a_vertical_edge_gives_vertical_strokes(self):
        ramp = torch.arange(48.0).expand(1, 1, 48, 48)
        glyph = self.glyph(ramp)
        rows = glyph[4:-4]
        np.testing.assert_allclose(rows, rows[[0]].repeat(len(rows), axis=0), atol=1e-12)
        assert (
            rows[0].argmax() in (15, 16)
            and rows[0, 15] == pytest.approx(1)
            and rows[0, [5, 26]].max() == 0
        )
        assert stroke_direction(glyph) == pytest.approx(90)

    @pytest.mark.parametrize('num_bins', [9, 18])
    @pytest.mark.parametrize('degrees', [10, 30, 50, 90, 110, 130, 170])
    def test_strokes_run_along_edges(self, degrees, num_bins):
        direction = stroke_direction(self.glyph(edge_image(degrees), num_bins))
        difference = (direction - degrees + 90) % 180 - 90
        assert abs(difference) <= 90 / num_bins + 1

    def test_brightness_is_the_value(self):
        histograms = np.zeros((1, 2, 9))
        histograms[0, 0, 4], histograms[0, 1, 4] = 0.3, 7
        canvas = draw_hog(histograms, 32)
        assert canvas[:, :32].max() == pytest.approx(0.3) and canvas[:, 32:].max() == pytest.approx(
            1
        )

    def test_cells_keep_their_place(self):
        histograms = np.zeros((2, 3, 9))
        histograms[1, 2] = 1
        canvas = draw_hog(histograms, 8)
        assert canvas.shape == (16, 24)
        assert canvas[8:, 16:].max() == 1
        canvas[8:, 16:] = 0
        assert canvas.max() == 0


def test_to_pixels_undoes_the_normalisation():
    pixels = np.random.default_rng(0).integers(0, 256, (2, 5, 6, 3), dtype=np.uint8)
    images = torch.from_numpy((pixels - np.array(MEAN)) / np.array(STD)).permute(0, 3, 1, 2)
    np.testing.assert_array_equal(to_pixels(images, MEAN, STD), pixels)
    assert to_pixels(torch.full((1, 3, 1, 1), 9.0), MEAN, STD).tolist() == [[[[255] * 3]]]


def test_hide_patches():
    images = np.full((1, 4, 6, 3), 9, dtype=np.uint8)
    masked = hide_patches(images, np.array([[[True, False, False], [False, False, True]]]))
    is_grey = (masked == HIDDEN_PATCH).all(axis=-1)[0]
    expected = np.zeros((4, 6), dtype=bool)
    expected[:2, :2] = expected[2:, 4:] = True
    np.testing.assert_array_equal(is_grey, expected)
    assert (masked[0][~expected] == 9).all()


def test_predicted_patches_and_outlines_of_blocks():
    """Patches of 20 px; the lines of 2 px of the second block lie inside those of the first."""
    images = np.full((2, 60, 60, 3), 9, dtype=np.uint8)
    hidden = np.array([[[1, 1, 1], [1, 1, 0], [0, 0, 0]], [[0, 0, 0], [0, 1, 1], [0, 0, 1]]]) > 0
    blocks = np.zeros((2, 2, 3, 3), dtype=bool)
    blocks[0, 0, :2, 0] = blocks[0, 1, 0, :2] = True  # both have the first patch
    blocks[1, 0, 1, 1] = blocks[1, 1, 2, 2] = True
    plain, grey, orange = (9, 9, 9), HIDDEN_PATCH, PREDICTED_PATCH
    first, second = OUTLINES[:2]

    one, other = show_blocks(images, hidden, blocks)
    middles = [[tuple(pixel) for pixel in row[10::20].tolist()] for row in one[10::20]]
    assert middles == [[orange, orange, grey], [orange, grey, plain], [plain] * 3]
    middles = [[tuple(pixel) for pixel in row[10::20].tolist()] for row in other[10::20]]
    assert middles == [[plain] * 3, [plain, orange, grey], [plain, plain, orange]]
    across = [tuple(pixel) for pixel in one[10].tolist()]
    assert across[:5] == [first, first, second, second, orange]
    assert across[16:22] == [orange, orange, first, first, orange, orange]
    assert across[34:41] == [orange, orange, second, second, orange, orange, grey]
    alone = [tuple(pixel) for pixel in other[50, 38:].tolist()]
    assert alone == [plain] * 2 + [orange] * 2 + [second] * 2 + [orange] * 12 + [second] * 2 + (
        [orange] * 2
    )

    (single,) = show_blocks(images[:1], hidden[:1], blocks[:1, :1])
    expected = np.where(blocks[0, 0][..., None], orange, np.where(hidden[0][..., None], grey, 9))
    np.testing.assert_array_equal(single, expected.repeat(20, 0).repeat(20, 1))


def test_to_grid_repeats_and_averages():
    values = np.array([[[1.0, 0, 0, 0], [1, 1, 0, 1]]])
    assert visualization._to_grid(values, (1, 2)).tolist() == [[[0.75, 0.25]]]
    assert visualization._to_grid(values, (4, 4))[0].tolist() == [
        *[[1, 0, 0, 0]] * 2,
        *[[1, 1, 0, 1]] * 2,
    ]


def make(generator, size, patch, noise=0.0, mask=None, dtype=torch.float32):
    torch.manual_seed(0)
    images = torch.randn(3, 3, *size)
    grid = (size[0] // patch, size[1] // patch)
    target = generator(images)
    target = target if isinstance(target, tuple) else (target,)
    prediction = tuple((values + noise).to(dtype) for values in target)
    mask = mask or RandomMask(0.75)(3, grid)
    return Reconstruction(images, mask, prediction, target)


def panels(sheet, rows, columns, size):
    """A sheet -> (rows, columns) of panels, found by the colour of the paper around them."""
    paper = (sheet == 255).all(axis=-1)
    in_rows = np.flatnonzero(~paper[:, 24 : 24 + size[1]].all(axis=1))
    bottom = [y for y in in_rows if not paper[y, 24 : 24 + size[1]].any()]
    top = bottom[0]
    lefts = [x for x in range(1, sheet.shape[1]) if paper[top, x - 1] and not paper[top, x]]
    assert len(lefts) == columns
    return [
        [sheet[y : y + size[0], x : x + size[1]] for x in lefts]
        for y in range(top, top + rows * (size[0] + GAP), size[0] + GAP)
    ]


class TestReconstruction:
    def test_pixels(self):
        generator = PixelTarget(8)
        reconstruction = make(generator, (256, 128), 8, noise=0.5)
        sheet = draw_reconstruction(reconstruction, generator, MEAN, STD, num_images=2)
        rows = panels(sheet, 2, 4, (256, 128))
        hidden = reconstruction.mask.hidden.view(3, 32, 16).numpy().repeat(8, 1).repeat(8, 2)
        originals = to_pixels(reconstruction.images, MEAN, STD)
        for row, is_hidden, original in zip(rows, hidden, originals, strict=False):
            image, masked, target, prediction = row
            np.testing.assert_array_equal(image, original)
            assert (masked[is_hidden] == HIDDEN_PATCH).all()
            assert np.abs(target.astype(int) - original).max() <= 1
            np.testing.assert_array_equal(prediction[~is_hidden], original[~is_hidden])
            brighter = prediction[is_hidden].astype(int) - original[is_hidden]
            assert np.median(brighter) == pytest.approx(0.5 * np.mean(STD), abs=3)

    def test_hog(self):
        generator = HOGTarget(9, (4, 8, 16))
        reconstruction = make(generator, (128, 256), 8, noise=9.0, dtype=torch.bfloat16)
        sheet = draw_reconstruction(reconstruction, generator, MEAN, STD)
        rows = panels(sheet, 3, 8, (160, 320))
        hidden = reconstruction.mask.hidden.view(3, 16, 32).numpy()
        for row, is_hidden in zip(rows, hidden, strict=True):
            for column, cells in ((2, 1), (4, 1), (6, 2)):
                size = 10 * cells
                whole = is_hidden.reshape(16 // cells, cells, 32 // cells, cells).any(axis=(1, 3))
                differs = (row[column] != row[column + 1]).any(axis=-1)
                differs = differs.reshape(16 // cells, size, 32 // cells, size).any(axis=(1, 3))
                np.testing.assert_array_equal(differs, whole)

    def test_hog_of_a_flat_image_is_night(self):
        generator = HOGTarget(9, (8,))
        images = torch.zeros(1, 3, 64, 64)
        target = generator(images)
        reconstruction = Reconstruction(images, keep_all(1, (8, 8)), target, target)
        row = panels(draw_reconstruction(reconstruction, generator, MEAN, STD), 1, 4, (256, 256))[0]
        assert (row[0] == np.round(MEAN)).all() and (row[1] == row[0]).all()
        assert (row[2] == NIGHT).all() and (row[3] == NIGHT).all()

    def test_several_pixel_scales(self):
        generator = PixelTarget((8, 16), normalize=False)
        reconstruction = make(generator, (256, 256), 8)
        sheet = draw_reconstruction(reconstruction, generator, MEAN, STD, num_images=1)
        row = panels(sheet, 1, 6, (256, 256))[0]
        for column in (2, 3, 4, 5):
            np.testing.assert_array_equal(row[column], row[0])

    def test_features_are_colours_in_the_basis_of_the_target(self):
        class Features:
            sizes = (8,)

        vectors = torch.randn(2, 16, 5) * torch.tensor([1.0, 2, 3, 4, 5])
        mask = RandomMask(0.5)(2, (4, 4))
        images = torch.zeros(2, 3, 32, 32)
        wrong = torch.where(mask.hidden.unsqueeze(2), -vectors, 99 * vectors)
        sheet = draw_reconstruction(
            Reconstruction(images, mask, (wrong,), (vectors,)), Features(), MEAN, STD
        )
        for row, hidden in zip(panels(sheet, 2, 4, (256, 256)), mask.hidden, strict=True):
            same = (row[2] == row[3]).all(axis=-1).reshape(4, 64, 4, 64).all(axis=(1, 3))
            np.testing.assert_array_equal(same, ~hidden.view(4, 4))

    def test_principal_colors(self):
        values = np.array([-1.0, 1, -1, 1]), np.array([-1.0, -1, 1, 1]), np.array([1.0, -1, -1, 1])
        features = np.stack([9 * values[0], values[1], 4 * values[2], 0 * values[0]], axis=-1)
        (colors,) = principal_colors(features.reshape(1, 2, 2, 4) + 7)
        for channel, value in enumerate((values[0], values[2], values[1])):
            drawn = colors.reshape(4, 3)[:, channel]
            np.testing.assert_array_equal(drawn, 128 + 64 * value * np.sign(drawn[3] - 128))

    def test_unknown_target(self):
        reconstruction = make(PixelTarget(8), (16, 16), 8)
        with pytest.raises(TypeError, match='Linear cannot be drawn: it needs num_bins'):
            draw_reconstruction(reconstruction, torch.nn.Linear(1, 1), MEAN, STD)

    def test_is_a_picture(self, tmp_path):
        generator = HOGTarget(9, (2, 4))
        sheet = draw_reconstruction(make(generator, (28, 28), 4), generator, MEAN, STD)
        Image.fromarray(sheet).save(tmp_path / 'sheet.png')
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / 'sheet.png')), sheet)


@pytest.mark.parametrize(('channels', 'shown'), [(1, [0, 0, 0]), (2, [0, 0, 0]), (13, [0, 1, 2])])
def test_pixels_of_other_numbers_of_channels(channels, shown):
    values = np.random.default_rng(0).integers(0, 256, (2, 4, 5, channels))
    mean, std = np.arange(channels) + 10.0, np.arange(channels) + 2.0
    images = torch.from_numpy((values - mean) / std).permute(0, 3, 1, 2)
    np.testing.assert_array_equal(to_pixels(images, mean, std), values[..., shown])

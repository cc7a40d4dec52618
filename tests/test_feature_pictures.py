"""Pictures of features: what they show follows from the features, the attention and the loss."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import ROOT, build_model
from mmengine.config import Config
from mmpretrain.structures import DataSample
from PIL import Image
from torch import nn

from mmmask.apis.visualize import build_model as build_for_evaluation
from mmmask.feature_pictures import (
    describe,
    draw_attention,
    draw_embedding,
    draw_neighbours,
    draw_pairs,
    draw_patch_losses,
    draw_principal_components,
    embed_in_plane,
    feature_map,
    patch_losses,
    scatter,
)
from mmmask.models.heads import MaskedRegressionHead
from mmmask.models.heat_maps import class_attention
from mmmask.visualization import NIGHT, RIGHT, WRONG, shine, to_pixels

SIDE = 256  # px of a panel
LEFT = 24 + SIDE + 6  # px to the left of the second column


class Means(nn.Module):
    """A backbone whose features are mean and deviation of the colours of 8 x 8 patches."""

    def __init__(self):
        super().__init__()
        self.anchor = nn.Parameter(torch.zeros(1))

    def forward(self, images):
        mean = nn.functional.avg_pool2d(images, 8)
        square = nn.functional.avg_pool2d(images.square(), 8)
        return (torch.cat([mean, (square - mean.square()).clamp(min=0).sqrt()], dim=1),)


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = Means()

    def data_preprocessor(self, batch, training):
        return dict(inputs=batch['inputs'].float())

    def forward(self, inputs, mode='tensor', **kwargs):
        return self.backbone(inputs)


def as_batch(images):
    return dict(inputs=images, data_samples=[])


def samples(images, labels=None):
    """A data set of (M, 3, H, W) uint8 images, BGR like those of PackInputs."""
    labels = labels if labels is not None else [None] * len(images)

    def sample(image, label):
        data_sample = DataSample()
        if label is not None:
            data_sample.set_gt_label(label)
        return dict(inputs=image, data_samples=data_sample)

    return [sample(*pair) for pair in zip(images, labels, strict=True)]


def panel(picture, column, row=0):
    """The panel of a picture, by the place of the first row, which has a title above it."""
    top = int(np.flatnonzero((picture[:, 24:280] != 255).any(axis=2).all(axis=1))[0])
    left, top = 24 + column * (SIDE + 6), top + row * (SIDE + 6)
    return picture[top : top + SIDE, left : left + SIDE]


def test_principal_components_separate_two_textures():
    """Left halves are stripes and right halves dots, of the same mean: two colours, no more."""
    image = torch.zeros(3, 64, 64)
    image[:, ::2, :32] = 200
    image[:, 1::2, :32] = 56
    image[:, :, 32:] = 128
    batch = dict(inputs=torch.stack([image, image.flip(2)]))
    model = Model()
    picture = draw_principal_components(model, batch)
    first, second = panel(picture, 1), panel(picture, 1, row=1)
    left, right = first[:, :96].reshape(-1, 3), first[:, 160:].reshape(-1, 3)
    assert left.std(axis=0).max() < 4 and right.std(axis=0).max() < 4
    assert np.abs(left.mean(axis=0) - right.mean(axis=0)).max() == pytest.approx(128, abs=4)
    # One analysis for all images: equal textures have equal colours in both.
    assert np.abs(second[:, ::-1].astype(int) - first).max() <= 2


def test_feature_map_of_tokens_has_their_places():
    model = build_model('demo/localmim_vit-tiny_digits.py').eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        features, tokens = feature_map(model.backbone, images), model.backbone(images)[-1]
    assert features.shape == (2, 128, 8, 8)
    assert torch.equal(features[1, :, 3, 5], tokens[1, 1 + 3 * 8 + 5])


@pytest.mark.parametrize('config', ['simmim_swin-tiny_digits', 'spark_resnet-tiny_digits'])
def test_other_backbones_have_feature_maps(config):
    model = build_model(f'demo/{config}.py').eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        features = feature_map(model.backbone, images)
    assert features.shape[2] == features.shape[3] < 64
    picture = draw_principal_components(model, as_batch(images.to(torch.uint8)))
    assert np.ptp(panel(picture, 1)) > 50


def test_attention_is_that_of_each_head():
    model = build_model('demo/mae_vit-tiny_digits.py').eval()
    batch = as_batch(torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8))
    images = model.data_preprocessor(batch)['inputs'].float()
    with torch.no_grad():
        attention = class_attention(model.backbone, images)
    assert attention.shape == (2, 4, 8, 8)
    picture = draw_attention(model, batch)
    pixels = to_pixels(images, [123.675, 116.28, 103.53], [58.395, 57.12, 57.375])
    large = np.asarray(Image.fromarray(pixels[1]).resize((SIDE, SIDE), Image.LANCZOS))
    heat = attention[1, 2].numpy()
    # After the image and a wider gap: the mean, then the heads.
    drawn = picture[:, 20:][:, 24 + 4 * (SIDE + 6) :]
    top = int(np.flatnonzero((picture[:, 24:280] != 255).any(axis=2).all(axis=1))[0]) + SIDE + 6
    grey = large.mean(axis=2, keepdims=True).repeat(3, axis=2)
    expected = shine(grey, heat / heat.max(), 0.75)
    np.testing.assert_array_equal(drawn[top : top + SIDE, :SIDE], expected)


def test_backbones_without_class_token_have_no_attention():
    model = build_model('demo/spark_resnet-tiny_digits.py')
    with pytest.raises(ValueError, match='needs a vision transformer with a class token'):
        draw_attention(model, as_batch(torch.zeros(1, 3, 64, 64, dtype=torch.uint8)))


@pytest.mark.parametrize('distance', ['squared', 'absolute', 'smooth'])
def test_patch_losses_by_hand(distance):
    prediction, target = torch.randn(2, 4, 3), torch.randn(2, 4, 3)
    hidden = torch.tensor([[True, False, True, False], [False, True, True, True]])
    reconstruction = SimpleNamespace(
        mask=SimpleNamespace(grid=(2, 2)), prediction=(prediction,), target=(target,)
    )
    head = MaskedRegressionHead(distance)
    (losses,) = patch_losses(head, reconstruction)
    error = (prediction - target).abs()
    small = 0.5 * error**2
    errors = dict(
        squared=error**2, absolute=error, smooth=torch.where(error < 1, small, error - 0.5)
    )[distance]
    torch.testing.assert_close(losses, errors.mean(dim=2).view(2, 2, 2))
    total = head.distance(prediction, target, hidden.float())
    torch.testing.assert_close(losses.flatten(1)[hidden].mean(), total)


def test_the_loss_of_a_model_is_the_mean_of_those_of_its_patches():
    model = build_model('demo/mae_vit-tiny_digits.py').eval()
    images = torch.randn(3, 3, 64, 64)
    reconstruction = model.predict(images)
    (losses,) = patch_losses(model.head, reconstruction)
    loss = model.head(*(x[0] for x in reconstruction[2:]), reconstruction.mask)['loss']
    torch.testing.assert_close(losses.flatten(1)[reconstruction.mask.hidden].mean(), loss)
    model = build_model('demo/localmim_vit-tiny_digits.py').eval()
    several = model.predict(images)
    losses = patch_losses(model.head, several)
    assert [one.shape[1] for one in losses] == [32, 16, 8, 4]
    # A position of the coarsest scale covers 2 x 2 patches, of which any number may be hidden.
    weight = several.mask.hidden.float().view(3, 4, 2, 4, 2).mean(dim=(2, 4))
    expected = model.head(several.prediction, several.target, several.mask)['loss_scale3']
    torch.testing.assert_close((losses[3] * weight).sum() / weight.sum(), expected)


def test_the_picture_of_the_loss_is_dark_where_nothing_is_hidden():
    model = build_for_evaluation(Config.fromfile(ROOT / 'configs/demo/mae_vit-tiny_digits.py'))
    batch = as_batch(torch.full((1, 3, 64, 64), 130, dtype=torch.uint8))
    picture = draw_patch_losses(model, batch, 3)
    image, masked = panel(picture, 0), panel(picture, 1)
    loss = picture[:, 20:]
    loss = panel(loss[:, 2 * (SIDE + 6) :], 0)
    visible = (masked == image).all(axis=2)
    dark = (0.25 * image[visible] + 0.75 * NIGHT).round()
    np.testing.assert_array_equal(loss[visible], dark)
    assert visible.mean() == pytest.approx(0.25)
    assert (loss[~visible] > (0.25 * 130 + 0.75 * NIGHT).round()).any(axis=1).mean() > 0.9
    with pytest.raises(ValueError, match='Model has no loss of single patches'):
        draw_patch_losses(Model(), batch, 3)


@pytest.fixture
def stripes():
    """12 images of 4 classes, whose classes differ in the direction and colour of stripes."""
    rows = torch.arange(64)
    images, labels = [], []
    for number in range(12):
        label = number % 4
        plain = torch.zeros(3, 64, 64)
        plain[label % 3] = 120 + 40 * (rows // (8 << label // 3) % 2) + number
        images.append(plain.to(torch.uint8))
        labels.append(label)
    return torch.stack(images), labels


def test_neighbours_are_of_the_same_class_and_others(stripes):
    images = describe(Model(), samples(*stripes))
    picture = draw_neighbours(images, images, 3, 3)
    colors = [(picture.reshape(-1, 3) == color).all(axis=1).sum() for color in (RIGHT, WRONG)]
    frame = SIDE**2 - (SIDE - 10) ** 2
    # Of three neighbours, the two other images of the class come first.
    assert colors == [6 * frame, 3 * frame]
    unlabelled = describe(Model(), samples(stripes[0]))
    assert unlabelled.labels is None
    assert not (draw_neighbours(unlabelled, unlabelled) == RIGHT).all(axis=2).any()
    single = describe(Model(), samples(stripes[0][:1]))
    with pytest.raises(ValueError, match='at least two images'):
        draw_neighbours(single, single)


def test_a_bank_may_contain_the_same_image(stripes):
    """Of two data sets, an image that is in both is its own nearest neighbour."""
    bank = describe(Model(), samples(stripes[0][:4]))
    queries = describe(Model(), samples(stripes[0][:2]))
    picture = draw_neighbours(bank, queries, 2, 1)
    top = int(np.flatnonzero((picture[:, 24:280] != 255).any(axis=2).all(axis=1))[0])
    query, found = (picture[top + 5 : top + 251, x + 5 : x + 251] for x in (24, 24 + SIDE + 26))
    np.testing.assert_array_equal(query, found)


def test_embedding_keeps_clusters_apart():
    generator = torch.Generator().manual_seed(0)
    centres = torch.eye(3, 8).repeat_interleave(10, 0)
    points = embed_in_plane(centres + 0.05 * torch.randn(30, 8, generator=generator))
    assert points.shape == (30, 2)
    distance = np.linalg.norm(points[:, None] - points, axis=2)
    np.fill_diagonal(distance, np.inf)
    np.testing.assert_array_equal(distance.argmin(axis=1) // 10, np.arange(30) // 10)
    with pytest.raises(ValueError, match='at least 4 images, not 3'):
        embed_in_plane(torch.eye(3))


def test_points_have_the_colour_of_their_label(stripes):
    corners = np.array([[0.0, 0], [1, 0], [0, 1], [1, 1]])
    picture = scatter(corners, np.array([0, 0, 1, 1]), ['cat', 'dog'])
    blue, orange = (
        np.argwhere((np.abs(picture.astype(int) - color) < 3).all(axis=2))
        for color in ((31, 119, 180), (255, 127, 14))
    )
    middle, legend = len(picture) / 2, picture.shape[1] * 0.9
    assert (blue[blue[:, 1] < legend, 0] > middle).all() and (blue[:, 1] < legend).any()
    assert (orange[orange[:, 1] < legend, 0] < middle).all() and (orange[:, 1] < legend).any()
    assert (blue[:, 1] > legend).any()
    assert draw_embedding(describe(Model(), samples(*stripes))).shape == picture.shape


def test_pairs_are_drawn_in_rows():
    images = [np.full((64, 64, 3), value, np.uint8) for value in range(100, 200, 10)]
    pairs = [(0.99, ('a.jpg', one), ('b' * 40, one + 5)) for one in images[:4]]
    picture = draw_pairs(pairs, 'Caption')
    assert [(picture == value).all(axis=2).sum() for value in (100, 105, 130, 140)] == [
        *[SIDE**2] * 3,
        0,
    ]
    assert draw_pairs(pairs[:1], '').shape[1] < picture.shape[1]

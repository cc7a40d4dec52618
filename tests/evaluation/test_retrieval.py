import sys

import numpy as np
import pytest
import torch

from mmmask.evaluation import (
    describe_layers,
    fit_whitening,
    gem,
    mean_average_precision,
    rank,
    recall_at,
)


@pytest.mark.parametrize(
    ('hits', 'num_relevant', 'expected'),
    [
        ([1, 0, 0], 1, 1.0),
        ([0, 1, 0], 1, (0 / 1 + 1 / 2) / 2),  # second place: a quarter, not a half
        ([0, 0, 0, 1], 1, (0 / 3 + 1 / 4) / 2),
        ([0, 0, 0], 1, 0.0),
        ([1, 1, 0], 2, 1.0),
        ([1, 0, 1], 2, ((1 + 1) / 2 + (1 / 2 + 2 / 3) / 2) / 2),
        ([1, 0, 1], 4, ((1 + 1) / 2 + (1 / 2 + 2 / 3) / 2) / 4),  # two were not found
    ],
)
def test_average_precision_by_hand(hits, num_relevant, expected):
    assert average_precision(hits, num_relevant) == pytest.approx(expected)


def average_precision(hits, num_relevant):
    """The score of one list whose n-th image has index n. Relevant images may be missing."""
    found = set(np.flatnonzero(hits))
    missing = range(len(hits), len(hits) + num_relevant - len(found))
    return mean_average_precision(np.arange(len(hits))[None], [found | set(missing)])


def test_average_precision_is_the_area_under_the_polygon():
    random = np.random.default_rng(0)
    hits = random.random(50) < 0.3
    found = np.cumsum(hits)
    precision, recall = found / np.arange(1, 51), found / hits.sum()
    before = np.concatenate([[1.0], precision[:-1]])
    steps = np.diff(np.concatenate([[0.0], recall]))
    expected = (steps * (before + precision) / 2).sum()
    assert average_precision(hits, hits.sum()) == pytest.approx(expected)


def test_nothing_relevant():
    with pytest.raises(ValueError, match='query needs at least one relevant image'):
        mean_average_precision(np.array([[0]]), [set()])


def test_mean_and_recall_by_hand():
    ranking = np.array([[3, 1, 0], [2, 0, 1], [0, 1, 2]])
    relevant = [{3}, {0, 1}, {3}]
    # 1; second and third of three: ((0 + 1/2)/2 + (1/2 + 2/3)/2)/2; 0
    assert mean_average_precision(ranking, relevant) == pytest.approx((1 + 5 / 12 + 0) / 3)
    assert [recall_at(ranking, relevant, k) for k in (1, 2, 3)] == pytest.approx(
        [1 / 3, 2 / 3, 2 / 3]
    )


def test_generalised_mean_by_hand():
    tokens = torch.tensor([[[1.0, -5.0], [2.0, 3.0]]])
    expected = [((1 + 16) / 2) ** 0.25, (81 / 2) ** 0.25]
    torch.testing.assert_close(gem(tokens), torch.tensor([expected]))
    torch.testing.assert_close(gem(tokens, power=1.0), torch.tensor([[1.5, 1.5000005]]))


def test_descriptors_of_tokens_and_of_maps():
    tokens = torch.rand(2, 5, 3)
    found = describe_layers((tokens, 2 * tokens), ('layer 4', 'layer 8'), num_extra_tokens=1)
    assert list(found) == ['gem layer 4', 'gem layer 8', 'cls', 'cls + gem']
    torch.testing.assert_close(found['gem layer 4'], gem(tokens[:, 1:]))
    torch.testing.assert_close(found['cls'], 2 * tokens[:, 0])
    torch.testing.assert_close(
        found['cls + gem'], torch.cat([2 * tokens[:, 0], gem(2 * tokens[:, 1:])], 1)
    )
    maps = tokens[:, 1:].mT.reshape(2, 3, 2, 2)
    found = describe_layers((maps,), ('stage 1',))
    assert list(found) == ['gem stage 1']
    torch.testing.assert_close(found['gem stage 1'], gem(tokens[:, 1:]))


def test_ranking_is_that_of_the_cosine():
    torch.manual_seed(0)
    database, queries = torch.randn(30, 8), 3 * torch.randn(4, 8)
    similarity = torch.nn.functional.cosine_similarity(queries[:, None], database, dim=-1)
    expected = similarity.argsort(dim=1, descending=True).numpy()
    np.testing.assert_array_equal(rank(database, queries), expected)
    np.testing.assert_array_equal(rank(database, queries, top=5), expected[:, :5])
    assert rank(database, queries, top=99).shape == (4, 30)


def test_whitened_descriptors_have_unit_covariance():
    torch.manual_seed(0)
    raw = torch.randn(500, 4) @ torch.randn(4, 4) + 7
    white = fit_whitening(raw)(raw)
    torch.testing.assert_close(white.mean(0), torch.zeros(4), atol=1e-4, rtol=0)
    torch.testing.assert_close(white.T.cov(correction=0), torch.eye(4), atol=1e-3, rtol=0)
    # without the power it is a rotation, so distances do not change
    turned = fit_whitening(raw, power=0.0)(raw)
    torch.testing.assert_close(
        torch.cdist(turned, turned), torch.cdist(raw, raw), atol=1e-2, rtol=0
    )
    # a direction without variance is not amplified
    flat = torch.cat([raw, torch.full((500, 1), 3.0)], 1)
    assert fit_whitening(flat)(flat + torch.tensor([0, 0, 0, 0, 1e-3])).abs().max() < 10


def test_missing_faiss_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, 'faiss', None)
    with pytest.raises(ImportError, match=r'pip install "mmmask\[retrieval\]"'):
        rank(torch.ones(2, 2), torch.ones(1, 2))

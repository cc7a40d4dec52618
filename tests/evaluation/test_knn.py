import math

import numpy as np
import pytest
import torch

from mmmask.evaluation import accuracy, knn_classify


def reference(bank, bank_labels, queries, k, temperature):
    """The vote, computed for one query and one neighbour at a time."""
    predictions = []
    for query in queries:
        similarity = [
            vector @ query / np.linalg.norm(vector) / np.linalg.norm(query) for vector in bank
        ]
        votes = {}
        for neighbour in np.argsort(similarity)[::-1][:k]:
            label = bank_labels[neighbour]
            votes[label] = votes.get(label, 0) + math.exp(similarity[neighbour] / temperature)
        predictions.append(max(votes, key=votes.get))
    return predictions


def at_angles(*degrees):
    radians = torch.tensor(degrees).deg2rad()
    return torch.stack([radians.cos(), radians.sin()], dim=1)


def test_hand_computed_vote():
    """One near neighbour of class 0 at 0 degrees against two of class 1 at 25 degrees.

    Similarities 1, 0.9063, 0.9063: at temperature 0.07 the weights relative to the nearest are
    1 and 2 * exp(-0.0937 / 0.07) = 0.524, so class 0 wins; at 0.5 they are 1 and 1.658: class 1.
    """
    bank, labels, query = at_angles(0, 25, -25, 90), torch.tensor([0, 1, 1, 2]), at_angles(0)
    assert 2 * math.exp((math.cos(math.radians(25)) - 1) / 0.07) == pytest.approx(0.524, abs=1e-3)
    assert knn_classify(bank, labels, query, k=3, temperature=0.07).tolist() == [0]
    assert knn_classify(bank, labels, query, k=3, temperature=0.5).tolist() == [1]
    assert knn_classify(bank, labels, query, k=1, temperature=0.5).tolist() == [0]


def test_length_of_features_does_not_count():
    bank = at_angles(0, 30, 60) * torch.tensor([[0.01], [100.0], [1.0]])
    prediction = knn_classify(bank, torch.tensor([2, 1, 0]), at_angles(5, 40, 70) * 50, k=1)
    assert prediction.tolist() == [2, 1, 0]


@pytest.mark.parametrize(('k', 'temperature'), [(1, 0.07), (5, 0.07), (20, 0.07), (20, 1.0)])
def test_equals_the_reference(k, temperature):
    generator = np.random.default_rng(0)
    centers = generator.normal(size=(7, 16))
    labels = generator.integers(7, size=300)
    bank = centers[labels] + generator.normal(size=(300, 16)) * 2
    queries = centers[generator.integers(7, size=100)] + generator.normal(size=(100, 16)) * 2
    expected = reference(bank, labels, queries, k, temperature)
    for chunk_size in (1024, 7):
        predictions = knn_classify(
            torch.from_numpy(bank),
            torch.from_numpy(labels),
            torch.from_numpy(queries),
            k,
            temperature,
            chunk_size,
        )
        assert predictions.tolist() == expected


def test_low_temperature_stays_finite():
    bank, labels = at_angles(0, 10, 50), torch.tensor([1, 0, 0])
    assert knn_classify(bank, labels, at_angles(1), k=3, temperature=1e-4).tolist() == [1]


@pytest.mark.parametrize('k', [0, 4])
def test_k_must_fit_the_bank(k):
    with pytest.raises(ValueError, match=f'k={k} must lie between 1 and the 3 bank images'):
        knn_classify(at_angles(0, 1, 2), torch.zeros(3, dtype=torch.long), at_angles(0), k=k)


def test_accuracy():
    assert accuracy(torch.tensor([0, 1, 2, 2]), torch.tensor([0, 1, 1, 2])) == 75

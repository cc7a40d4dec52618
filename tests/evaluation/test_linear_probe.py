import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from sklearn.datasets import load_digits

from mmmask.evaluation import accuracy, linear_probe


@pytest.fixture(scope='module')
def digits():
    data = load_digits(n_class=4)
    return torch.from_numpy(data.data).float(), torch.from_numpy(data.target)


def reference(features, labels, queries, regularization):
    """Softmax regression on standardised features, minimised by SciPy."""
    features, queries = features.double().numpy(), queries.double().numpy()
    mean, deviation = features.mean(0), features.std(0)
    deviation[deviation == 0] = 1
    features, queries = (features - mean) / deviation, (queries - mean) / deviation
    hot = np.eye(labels.max() + 1)[labels.numpy()]
    shape = (features.shape[1] + 1, hot.shape[1])

    def objective(flat):
        weight, bias = flat.reshape(shape)[:-1], flat.reshape(shape)[-1]
        logits = features @ weight + bias
        logits -= logits.max(1, keepdims=True)
        log_probability = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        value = -(hot * log_probability).sum(1).mean() + regularization / 2 * (weight**2).sum()
        error = (np.exp(log_probability) - hot) / len(features)
        return value, np.vstack(
            [features.T @ error + regularization * weight, error.sum(0)]
        ).ravel()

    best = minimize(objective, np.zeros(shape).ravel(), jac=True).x.reshape(shape)
    return (queries @ best[:-1] + best[-1]).argmax(1)


@pytest.mark.parametrize('regularization', [0.01, 10.0])
def test_equals_a_reference(digits, regularization):
    noise = torch.randn(digits[0].shape, generator=torch.Generator().manual_seed(0))
    features, labels = digits[0] + noise * 8, digits[1]
    train = slice(0, 500)
    expected = reference(features[train], labels[train], features[500:], regularization)
    predictions = linear_probe(features[train], labels[train], features[500:], regularization)
    assert (predictions.numpy() == expected).mean() > 0.99
    assert accuracy(predictions, labels[500:]) > 60


def test_scale_and_shift_of_features_do_not_count(digits):
    features, labels = digits
    moved = features * torch.logspace(-2, 2, 64) + 7
    torch.testing.assert_close(
        linear_probe(features[:400], labels[:400], features[400:]),
        linear_probe(moved[:400], labels[:400], moved[400:]),
    )

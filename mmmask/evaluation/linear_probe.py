"""A linear classifier on frozen features."""

import torch
from torch import Tensor


def linear_probe(
    train_features: Tensor,
    train_labels: Tensor,
    features: Tensor,
    regularization: float = 0.01,
    max_iterations: int = 1000,
) -> Tensor:
    """(T, D) features with (T,) labels, (M, D) features -> (M,) predicted labels, on the CPU.

    This is scikit-learn's multinomial logistic regression. Features are standardised by the mean
    and deviation of the training set. The objective is the **mean** log loss +
    ``regularization``/2 · ‖W‖². Because the loss is a mean, one value is suitable for any number of
    images: scikit-learn's ``C`` is 1 / (``regularization`` · T).
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    inverse_strength = 1 / (regularization * len(train_features))
    probe = make_pipeline(
        StandardScaler(), LogisticRegression(C=inverse_strength, max_iter=max_iterations)
    )
    probe.fit(train_features.cpu(), train_labels.cpu())
    return torch.from_numpy(probe.predict(features.cpu()))

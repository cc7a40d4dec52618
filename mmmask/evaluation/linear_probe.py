"""A linear classifier on frozen features."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .knn import accuracy, majority_accuracy

REGULARIZATIONS = (1.0, 0.1, 0.01, 1e-3, 1e-4, 1e-5)


class Probe(NamedTuple):
    """A linear classifier's result on M test images.

    Attributes:
        predictions: (M,) labels.
        accuracy: top-1 in percent.
        majority: top-1 in percent of always predicting the most frequent test label.
        regularization: the value that was used.
    """

    predictions: Tensor
    accuracy: float
    majority: float
    regularization: float


def linear_probe(
    train_features: Tensor,
    train_labels: Tensor,
    test_features: Tensor,
    test_labels: Tensor,
    regularization: float | Sequence[float] = REGULARIZATIONS,
    max_iterations: int = 500,
    validation: tuple[Tensor, Tensor] | None = None,
) -> Probe:
    """(T, D) features with (T,) labels, (M, D) features with (M,) labels -> a converged classifier.

    This is multinomial logistic regression, fitted by L-BFGS on the device of the training
    features, which are standardised by their mean and standard deviation. The objective is the
    **mean** log loss + ``regularization``/2 · ‖W‖². Because the loss is a mean, one value is
    suitable for any number of images: scikit-learn's ``C`` is 1 / (``regularization`` · T).

    Of several regularisations, the one with the highest accuracy on a fifth of each class of the
    training set is used, and of equal ones the one with the lowest log loss there. The classifier
    is then fitted to the whole training set. Test labels have no influence on predictions.

    Args:
        regularization: one value, or the values to choose from.
        max_iterations: of each fit.
        validation: features and labels to choose on instead of a fifth of the training set, for
            example of other tracks of a video. The classifier is not fitted to them.

    Raises:
        ValueError: if there are several regularisations and no class has two training images.
    """
    device = train_features.device
    train_features, train_labels = train_features.detach().float(), train_labels.to(device)
    prepare = _preparation(train_features)
    train_features, test_features = prepare(train_features), prepare(test_features)
    test_labels = test_labels.to(device)

    if not isinstance(regularization, Sequence):
        weight, bias = _fit(train_features, train_labels, regularization, max_iterations)
    elif validation is None:
        held_out = hold_out(train_labels)
        fitted, judged = (
            (train_features[part], train_labels[part]) for part in (~held_out, held_out)
        )
        regularization, start = _choose(fitted, judged, regularization, max_iterations)
        weight, bias = _fit(train_features, train_labels, regularization, max_iterations, start)
    else:
        others = prepare(validation[0]), validation[1].to(device)
        regularization, (weight, bias) = _choose(
            (train_features, train_labels), others, regularization, max_iterations
        )
    predictions = F.linear(test_features, weight, bias).argmax(dim=1)
    return Probe(
        predictions,
        accuracy(predictions, test_labels),
        majority_accuracy(test_labels),
        regularization,
    )


def _preparation(train_features: Tensor) -> Callable[[Tensor], Tensor]:
    """Standardise features by the mean and deviation of the T training ones.

    The weights of a regularised classifier are linear combinations of the training features. If
    these are few, features are given by their coordinates in the space that they span, (M, T), from
    which the same classifier follows sooner.
    """
    deviation, mean = torch.std_mean(train_features, dim=0, correction=0)
    deviation = deviation.where(deviation > 0, 1)

    def standardise(features: Tensor) -> Tensor:
        return (features.to(mean.device).float() - mean) / deviation

    number, width = train_features.shape
    if 2 * number > width:
        return standardise
    basis = torch.linalg.qr(standardise(train_features).mT).Q
    return lambda features: standardise(features) @ basis


def _choose(
    train: tuple[Tensor, Tensor],
    others: tuple[Tensor, Tensor],
    candidates: Sequence[float],
    max_iterations: int,
) -> tuple[float, tuple[Tensor, Tensor]]:
    """The regularisation that is best on other images, and the classifier that it gives."""
    features, labels = others
    scores, fits, start = {}, {}, None
    for candidate in sorted(candidates, reverse=True):  # each fit starts from the one before
        fits[candidate] = start = _fit(*train, candidate, max_iterations, start)
        logits = F.linear(features, *start)
        top1 = accuracy(logits.argmax(dim=1), labels)
        scores[candidate] = top1, -F.cross_entropy(logits, labels).item()
    best = max(scores, key=scores.get)
    return best, fits[best]


def hold_out(labels: Tensor, seed: int = 0) -> Tensor:
    """(T,) labels -> (T,) boolean: every fifth image of each class, in a random order.

    If no class has five images, it is every n-th image, where n is the size of the largest class.

    Raises:
        ValueError: if no class has two images.
    """
    step = min(5, int(labels.bincount().max()))
    if step < 2:
        raise ValueError(
            f'no class has two of the {len(labels)} training images, so no regularization can be '
            'chosen on a part of them: pass one value.'
        )
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    order = order.to(labels.device)
    order = order[labels[order].argsort(stable=True)]
    grouped = labels[order]
    position = torch.arange(len(labels), device=labels.device) - torch.searchsorted(
        grouped, grouped
    )
    return torch.empty_like(grouped, dtype=torch.bool).scatter_(
        0, order, position % step == step - 1
    )


def _fit(
    features: Tensor,
    labels: Tensor,
    regularization: float,
    max_iterations: int,
    start: tuple[Tensor, Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """Weight (C, D) and bias (C,) that minimise the objective."""
    num_classes = int(labels.max()) + 1
    if start is None or len(start[1]) != num_classes:
        start = features.new_zeros(num_classes, features.shape[1]), features.new_zeros(num_classes)
    weight, bias = (part.clone().requires_grad_() for part in start)
    optimizer = torch.optim.LBFGS(
        [weight, bias],
        max_iter=max_iterations,
        history_size=10,
        tolerance_grad=1e-5,
        tolerance_change=1e-7,
        line_search_fn='strong_wolfe',
    )

    @torch.enable_grad()
    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(F.linear(features, weight, bias), labels)
        loss = loss + regularization / 2 * weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return weight.detach(), bias.detach()

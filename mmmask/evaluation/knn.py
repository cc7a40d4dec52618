"""k-nearest-neighbour classification: the quality of features without further training."""

import torch
import torch.nn.functional as F
from torch import Tensor


@torch.no_grad()
def knn_classify(
    train_features: Tensor,
    train_labels: Tensor,
    features: Tensor,
    k: int = 20,
    temperature: float = 0.07,
    chunk_size: int = 1024,
) -> Tensor:
    """(T, D) bank with (T,) labels, (M, D) queries -> (M,) predicted labels on the same device.

    The k neighbours with the highest cosine similarity s vote for their class with weight
    exp(s / temperature) (Wu et al., *Unsupervised Feature Learning via Non-Parametric Instance
    Discrimination*, CVPR 2018, section 3.4).

    Args:
        chunk_size: number of queries compared at a time. It bounds the memory.

    Raises:
        ValueError: if k is not between 1 and the size of the bank.
    """
    if not 1 <= k <= len(train_features):
        raise ValueError(f'k={k} must lie between 1 and the {len(train_features)} bank images.')
    bank = F.normalize(train_features.float(), dim=1)
    num_classes = int(train_labels.max()) + 1
    predictions = []
    for chunk in features.float().split(chunk_size):
        similarity, neighbour = (F.normalize(chunk, dim=1) @ bank.T).topk(k, dim=1)
        # Relative to the nearest neighbour, so that no temperature overflows.
        weight = ((similarity - similarity[:, :1]) / temperature).exp()
        votes = weight.new_zeros(len(chunk), num_classes)
        predictions.append(votes.scatter_add_(1, train_labels[neighbour], weight).argmax(dim=1))
    return torch.cat(predictions)


def accuracy(predictions: Tensor, labels: Tensor) -> float:
    """(M,) predicted and true labels -> top-1 accuracy in percent."""
    return (predictions == labels).float().mean().item() * 100


def majority_accuracy(labels: Tensor) -> float:
    """(M,) true labels -> top-1 accuracy in percent of always predicting the most frequent."""
    return accuracy(labels.mode().values, labels)


def majority_warning(name: str, top1: float, labels: Tensor) -> str | None:
    """A warning if a classifier's accuracy in percent is below :func:`majority_accuracy`."""
    majority = majority_accuracy(labels)
    if top1 >= majority:
        return None
    return (
        f'{name} is {top1:.2f} %, below the {majority:.2f} % of always predicting the most '
        f'frequent of the {len(labels)} labels: the classifier has learned nothing from the '
        'images. Train longer or with another learning rate; for a frozen backbone and few '
        'images, use configs/downstream/folder/probe.py.'
    )

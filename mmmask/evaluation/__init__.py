"""How good a backbone's features are."""

from .features import evaluation_mode, extract_features, pool
from .knn import accuracy, knn_classify
from .linear_probe import linear_probe

__all__ = [
    'accuracy',
    'evaluation_mode',
    'extract_features',
    'knn_classify',
    'linear_probe',
    'pool',
]

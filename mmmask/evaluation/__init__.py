"""How good a backbone's features are."""

from .features import describe_images, evaluation_mode, extract_features, pool
from .knn import accuracy, knn_classify
from .linear_probe import linear_probe
from .retrieval import (
    average_precision,
    describe_layers,
    fit_whitening,
    gem,
    mean_average_precision,
    rank,
    recall_at,
)

__all__ = [
    'accuracy',
    'average_precision',
    'describe_images',
    'describe_layers',
    'evaluation_mode',
    'extract_features',
    'fit_whitening',
    'gem',
    'knn_classify',
    'linear_probe',
    'mean_average_precision',
    'pool',
    'rank',
    'recall_at',
]

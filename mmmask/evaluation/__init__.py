"""The quality of a backbone's features."""

from .features import (
    check_labels,
    describe_dataset,
    extract_features,
    pool,
    pooled,
    shard,
    try_samples,
)
from .knn import accuracy, knn_classify, majority_accuracy, majority_warning
from .linear_probe import Probe, linear_probe
from .observing import observing, unwrap
from .retrieval import (
    Pair,
    describe_layers,
    find_duplicates,
    fit_whitening,
    gem,
    mean_average_precision,
    rank,
    recall_at,
)

__all__ = [
    'Pair',
    'Probe',
    'accuracy',
    'check_labels',
    'describe_dataset',
    'describe_layers',
    'extract_features',
    'find_duplicates',
    'fit_whitening',
    'gem',
    'knn_classify',
    'linear_probe',
    'majority_accuracy',
    'majority_warning',
    'mean_average_precision',
    'observing',
    'pool',
    'pooled',
    'rank',
    'recall_at',
    'shard',
    'try_samples',
    'unwrap',
]

"""Heads: they compute losses, with the functions of losses.py."""

from .contrastive import ContrastiveHead
from .embedding import EmbeddingPredictionHead
from .position import PositionHead
from .regression import MaskedRegressionHead

__all__ = [
    'ContrastiveHead',
    'EmbeddingPredictionHead',
    'MaskedRegressionHead',
    'PositionHead',
]

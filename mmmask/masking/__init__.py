"""Masks and the generators that sample them. PyTorch only."""

from .block import BlockMask, InverseBlockMask, TargetBlockMask
from .groups import FeatureGroupMask
from .hierarchy import EvolvedHierarchyMask, difficulty, explained_variance, node_sizes
from .mask import (
    Mask,
    gather_positions,
    gather_tokens,
    hide_positions,
    keep_all,
    mask_from_scores,
    num_visible,
    predict_part,
    rescale_hidden,
    restore_tokens,
    scatter_positions,
    scatter_tokens,
    units_to_raster,
)
from .parts import EvolvedPartMask
from .random import RandomMask
from .shared import SharedMask, SharedUnitMask, shared_visible

__all__ = [
    'BlockMask',
    'EvolvedHierarchyMask',
    'EvolvedPartMask',
    'FeatureGroupMask',
    'InverseBlockMask',
    'Mask',
    'RandomMask',
    'SharedMask',
    'SharedUnitMask',
    'TargetBlockMask',
    'difficulty',
    'explained_variance',
    'gather_positions',
    'gather_tokens',
    'hide_positions',
    'keep_all',
    'mask_from_scores',
    'node_sizes',
    'num_visible',
    'predict_part',
    'rescale_hidden',
    'restore_tokens',
    'scatter_tokens',
    'scatter_positions',
    'shared_visible',
    'units_to_raster',
]

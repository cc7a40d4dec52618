"""Masks and the generators that draw them. PyTorch only."""

from .block import BlockMask
from .hierarchy import EvolvedHierarchyMask
from .mask import (
    Mask,
    gather_tokens,
    keep_all,
    mask_from_scores,
    num_visible,
    rescale_hidden,
    restore_tokens,
)
from .parts import EvolvedPartMask
from .random import RandomMask

__all__ = [
    'BlockMask',
    'EvolvedHierarchyMask',
    'EvolvedPartMask',
    'Mask',
    'RandomMask',
    'gather_tokens',
    'keep_all',
    'mask_from_scores',
    'num_visible',
    'rescale_hidden',
    'restore_tokens',
]

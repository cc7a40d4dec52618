"""Backbones that accept a mask."""

from .masked_swin import MaskedSwinTransformer
from .masked_vit import MaskedVisionTransformer

__all__ = ['MaskedSwinTransformer', 'MaskedVisionTransformer']

"""Backbones that accept a mask."""

from .masked_vit import MaskedVisionTransformer

__all__ = ['MaskedVisionTransformer']

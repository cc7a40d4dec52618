"""Backbones that accept a mask, and a windowed one for detection."""

from .masked_swin import MaskedSwinTransformer
from .masked_vit import MaskedVisionTransformer
from .window_vit import WindowVisionTransformer

__all__ = ['MaskedSwinTransformer', 'MaskedVisionTransformer', 'WindowVisionTransformer']

"""Backbones that accept a mask, and a windowed one for detection."""

from .masked_convolutions import MaskedConvNeXt, MaskedResNet
from .masked_swin import MaskedSwinTransformer
from .masked_vit import MaskedVisionTransformer
from .window_vit import WindowVisionTransformer

__all__ = [
    'MaskedConvNeXt',
    'MaskedResNet',
    'MaskedSwinTransformer',
    'MaskedVisionTransformer',
    'WindowVisionTransformer',
]

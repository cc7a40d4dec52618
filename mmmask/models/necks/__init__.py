"""Necks: from taps of the encoder to predictions."""

from .pooled_norm import PooledNorm
from .token_decoder import MultiScaleDecoder, ScaleDecoder, TokenDecoder

__all__ = ['MultiScaleDecoder', 'PooledNorm', 'ScaleDecoder', 'TokenDecoder']

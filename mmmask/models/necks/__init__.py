"""Necks: from taps of the encoder to predictions."""

from .token_decoder import MultiScaleDecoder, ScaleDecoder, TokenDecoder

__all__ = ['MultiScaleDecoder', 'ScaleDecoder', 'TokenDecoder']

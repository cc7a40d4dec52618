"""Necks: from feature maps of the encoder (taps) to predictions."""

from .block_predictor import BlockPredictor
from .class_token_projector import ClassTokenProjector
from .conv_decoder import ConvDecoder
from .cross_attention_decoder import CrossAttentionDecoder
from .deep_masking import DeepMaskingNeck
from .feature_pyramid import SimpleFeaturePyramid, average_pool_pyramid
from .normed_pyramid import FeaturePyramid
from .pooled_norm import PooledNorm
from .token_decoder import MultiScaleDecoder, ScaleDecoder, TokenDecoder

__all__ = [
    'BlockPredictor',
    'ClassTokenProjector',
    'CrossAttentionDecoder',
    'ConvDecoder',
    'DeepMaskingNeck',
    'FeaturePyramid',
    'MultiScaleDecoder',
    'PooledNorm',
    'ScaleDecoder',
    'SimpleFeaturePyramid',
    'TokenDecoder',
    'average_pool_pyramid',
]

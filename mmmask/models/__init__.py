"""Models. The torch-only mask generators and targets are registered here."""

from mmmask import masking, targets
from mmmask.registry import MODELS

from .algorithms import (
    MAE,
    CMAEHuang,
    CMAEMao,
    CrossMAE,
    EvolvedMIM,
    LinearDecoder,
    LocalMIM,
    MaskDeep,
    MaskedFeatures,
    MaskedImageModel,
    PretrainingModel,
    Reconstruction,
    SimMIM,
)
from .augmentation import AugmentingDataPreprocessor
from .backbones import MaskedSwinTransformer, MaskedVisionTransformer, WindowVisionTransformer
from .data_preprocessor import DataPreprocessor
from .feature_target import FeatureTarget
from .heads import ContrastiveHead, EmbeddingPredictionHead, MaskedRegressionHead, PositionHead
from .necks import (
    ClassTokenProjector,
    CrossAttentionDecoder,
    DeepMaskingNeck,
    FeaturePyramid,
    MultiScaleDecoder,
    PooledNorm,
    ScaleDecoder,
    SimpleFeaturePyramid,
    TokenDecoder,
)
from .parser import EncoderParser

for _class in (
    masking.RandomMask,
    masking.BlockMask,
    masking.SharedUnitMask,
    masking.EvolvedHierarchyMask,
    masking.EvolvedPartMask,
    masking.FeatureGroupMask,
    targets.PixelTarget,
    targets.HOGTarget,
):
    MODELS.register_module(module=_class)

__all__ = [
    'AugmentingDataPreprocessor',
    'CMAEHuang',
    'CMAEMao',
    'ClassTokenProjector',
    'ContrastiveHead',
    'DataPreprocessor',
    'CrossAttentionDecoder',
    'CrossMAE',
    'DeepMaskingNeck',
    'EmbeddingPredictionHead',
    'EncoderParser',
    'EvolvedMIM',
    'FeaturePyramid',
    'FeatureTarget',
    'LinearDecoder',
    'LocalMIM',
    'MAE',
    'MaskDeep',
    'MaskedFeatures',
    'MaskedImageModel',
    'MaskedRegressionHead',
    'MaskedSwinTransformer',
    'MaskedVisionTransformer',
    'MultiScaleDecoder',
    'PooledNorm',
    'PositionHead',
    'PretrainingModel',
    'Reconstruction',
    'SimMIM',
    'ScaleDecoder',
    'SimpleFeaturePyramid',
    'TokenDecoder',
    'WindowVisionTransformer',
]

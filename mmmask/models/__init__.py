"""Models. The torch-only mask generators and targets are registered here."""

from mmmask import masking, targets
from mmmask.registry import MODELS

from .algorithms import (
    IJEPA,
    MAE,
    CMAEHuang,
    CMAEMao,
    CrossMAE,
    Data2Vec2,
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
from .backbones import (
    MaskedConvNeXt,
    MaskedResNet,
    MaskedSwinTransformer,
    MaskedVisionTransformer,
    WindowVisionTransformer,
)
from .data_preprocessor import DataPreprocessor
from .feature_target import FeatureTarget
from .heads import ContrastiveHead, EmbeddingPredictionHead, MaskedRegressionHead, PositionHead
from .momentum_target import MomentumTarget
from .necks import (
    BlockPredictor,
    ClassTokenProjector,
    ConvDecoder,
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
    masking.InverseBlockMask,
    masking.TargetBlockMask,
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
    'BlockPredictor',
    'CMAEHuang',
    'CMAEMao',
    'ClassTokenProjector',
    'ContrastiveHead',
    'DataPreprocessor',
    'CrossAttentionDecoder',
    'CrossMAE',
    'ConvDecoder',
    'Data2Vec2',
    'DeepMaskingNeck',
    'EmbeddingPredictionHead',
    'EncoderParser',
    'EvolvedMIM',
    'FeaturePyramid',
    'FeatureTarget',
    'IJEPA',
    'LinearDecoder',
    'LocalMIM',
    'MAE',
    'MaskDeep',
    'MaskedConvNeXt',
    'MaskedFeatures',
    'MaskedImageModel',
    'MaskedRegressionHead',
    'MaskedResNet',
    'MaskedSwinTransformer',
    'MaskedVisionTransformer',
    'MomentumTarget',
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

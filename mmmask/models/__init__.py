"""Models, and the place where the torch-only rooms enter the registry."""

from mmmask import masking, targets
from mmmask.registry import MODELS

from .algorithms import MAE, EvolvedMIM, LocalMIM, MaskedImageModel, Reconstruction
from .backbones import MaskedSwinTransformer, MaskedVisionTransformer
from .heads import MaskedRegressionHead
from .necks import MultiScaleDecoder, PooledNorm, ScaleDecoder, TokenDecoder
from .parser import EncoderParser

for _class in (
    masking.RandomMask,
    masking.BlockMask,
    masking.SharedUnitMask,
    masking.EvolvedHierarchyMask,
    masking.EvolvedPartMask,
    targets.PixelTarget,
    targets.HOGTarget,
):
    MODELS.register_module(module=_class)

__all__ = [
    'MAE',
    'EncoderParser',
    'EvolvedMIM',
    'LocalMIM',
    'MaskedImageModel',
    'MaskedRegressionHead',
    'MaskedSwinTransformer',
    'MaskedVisionTransformer',
    'MultiScaleDecoder',
    'PooledNorm',
    'Reconstruction',
    'ScaleDecoder',
    'TokenDecoder',
]

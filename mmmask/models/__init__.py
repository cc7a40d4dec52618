"""Models. The mask generators and targets, which need PyTorch only, are registered here."""

from torch import nn

from mmmask import masking, targets
from mmmask.registry import MODELS

from . import algorithms, backbones, heads, necks
from .algorithms import *  # noqa: F403
from .augmentation import AugmentingDataPreprocessor
from .backbones import *  # noqa: F403
from .data_preprocessor import DataPreprocessor
from .feature_target import FeatureTarget
from .heads import *  # noqa: F403
from .momentum_target import MomentumTarget
from .necks import *  # noqa: F403
from .parser import EncoderParser

for _package in (masking, targets):
    for _value in map(vars(_package).get, _package.__all__):
        if isinstance(_value, type) and issubclass(_value, nn.Module):
            MODELS.register_module(module=_value)

__all__ = [
    *algorithms.__all__,
    *backbones.__all__,
    *heads.__all__,
    *necks.__all__,
    'AugmentingDataPreprocessor',
    'DataPreprocessor',
    'EncoderParser',
    'FeatureTarget',
    'MomentumTarget',
]

"""Optimizers, schedules and parameter groups."""

from .lars import LARS
from .layer_decay import LayerDecayOptimWrapperConstructor
from .processor import ProcessorAmpOptimWrapper
from .schedules import WarmupCosineLR

__all__ = [
    'LARS',
    'LayerDecayOptimWrapperConstructor',
    'ProcessorAmpOptimWrapper',
    'WarmupCosineLR',
]

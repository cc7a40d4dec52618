"""Schedules and parameter groups."""

from .layer_decay import LayerDecayOptimWrapperConstructor
from .processor import ProcessorAmpOptimWrapper
from .schedules import WarmupCosineLR

__all__ = ['LayerDecayOptimWrapperConstructor', 'ProcessorAmpOptimWrapper', 'WarmupCosineLR']

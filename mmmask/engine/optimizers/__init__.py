"""Schedules and parameter groups."""

from .layer_decay import LayerDecayOptimWrapperConstructor
from .schedules import WarmupCosineLR

__all__ = ['LayerDecayOptimWrapperConstructor', 'WarmupCosineLR']

"""Time, memory and arithmetic of training steps and of components, measured in one run."""

from .components import COMPONENTS, benchmark_component
from .report import Report, Result, make_table
from .steps import MMPRETRAIN_MAE, benchmark_configs

__all__ = [
    'COMPONENTS',
    'MMPRETRAIN_MAE',
    'Report',
    'Result',
    'benchmark_component',
    'benchmark_configs',
    'make_table',
]

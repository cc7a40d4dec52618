"""What surrounds a model while it trains."""

from mmmask import upstream  # noqa: F401  before mmengine, which looks for transformers

from . import frozen_evaluation, hooks, loops, optimizers, runner, sharding, trackers, visualizer

__all__ = [
    'frozen_evaluation',
    'hooks',
    'loops',
    'optimizers',
    'runner',
    'sharding',
    'trackers',
    'visualizer',
]

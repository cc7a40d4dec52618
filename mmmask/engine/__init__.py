"""What surrounds a model while it trains."""

from . import frozen_evaluation, hooks, loops, optimizers, sharding, trackers

__all__ = ['frozen_evaluation', 'hooks', 'loops', 'optimizers', 'sharding', 'trackers']

"""What surrounds a model while it trains."""

from . import hooks, loops, optimizers, test_loops

__all__ = ['hooks', 'loops', 'optimizers', 'test_loops']

"""What surrounds a model while it trains."""

from . import hooks, loops, optimizers

__all__ = ['hooks', 'loops', 'optimizers']

"""What surrounds a model while it trains."""

from . import hooks, optimizers

__all__ = ['hooks', 'optimizers']

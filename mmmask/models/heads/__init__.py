"""Heads: parameters, and one call into losses.py."""

from .regression import MaskedRegressionHead

__all__ = ['MaskedRegressionHead']

"""Prediction targets, computed from the images alone. PyTorch only."""

from .hog import HOGTarget
from .pixels import PixelTarget

__all__ = ['HOGTarget', 'PixelTarget']

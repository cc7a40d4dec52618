"""What a model is asked to predict: functions of the images alone. PyTorch only."""

from .hog import HOGTarget
from .pixels import PixelTarget

__all__ = ['HOGTarget', 'PixelTarget']

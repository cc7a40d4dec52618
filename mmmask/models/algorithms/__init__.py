"""Pre-training methods."""

from .base import MaskedImageModel, Reconstruction
from .localmim import LocalMIM
from .mae import MAE

__all__ = ['MAE', 'LocalMIM', 'MaskedImageModel', 'Reconstruction']

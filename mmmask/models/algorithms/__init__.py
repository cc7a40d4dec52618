"""Pre-training methods."""

from .base import MaskedImageModel, Reconstruction
from .evolved import EvolvedMIM
from .localmim import LocalMIM
from .mae import MAE

__all__ = ['MAE', 'EvolvedMIM', 'LocalMIM', 'MaskedImageModel', 'Reconstruction']

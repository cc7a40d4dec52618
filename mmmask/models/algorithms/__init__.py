"""Pre-training methods."""

from .base import MaskedImageModel, PretrainingModel, Reconstruction
from .cmae_huang import CMAEHuang
from .cmae_mao import CMAEMao
from .evolved import EvolvedMIM
from .localmim import LocalMIM
from .mae import MAE
from .maskdeep import MaskDeep, MaskedFeatures

__all__ = [
    'CMAEHuang',
    'CMAEMao',
    'EvolvedMIM',
    'LocalMIM',
    'MAE',
    'MaskDeep',
    'MaskedFeatures',
    'MaskedImageModel',
    'PretrainingModel',
    'Reconstruction',
]

"""Pre-training methods."""

from .base import MaskedImageModel, PretrainingModel, Reconstruction
from .cmae_huang import CMAEHuang
from .cmae_mao import CMAEMao
from .crossmae import CrossMAE
from .data2vec2 import Data2Vec2
from .evolved import EvolvedMIM
from .ijepa import IJEPA
from .localmim import LocalMIM
from .mae import MAE
from .maskdeep import MaskDeep, MaskedFeatures
from .simmim import LinearDecoder, SimMIM

__all__ = [
    'CMAEHuang',
    'CMAEMao',
    'CrossMAE',
    'Data2Vec2',
    'EvolvedMIM',
    'IJEPA',
    'LinearDecoder',
    'LocalMIM',
    'MAE',
    'MaskDeep',
    'MaskedFeatures',
    'MaskedImageModel',
    'PretrainingModel',
    'Reconstruction',
    'SimMIM',
]

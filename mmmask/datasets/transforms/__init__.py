"""What happens to images on their way to the model."""

from .clipped_crop import ClippedResizedCrop
from .contrastive_crop import ContrastiveCrop
from .intensity_jitter import IntensityJitter
from .random_resized_crop import RandomResizedCrop
from .resize import Resize, ResizeEdge
from .shifted_crop import ShiftedCrop

__all__ = [
    'ClippedResizedCrop',
    'ContrastiveCrop',
    'IntensityJitter',
    'RandomResizedCrop',
    'Resize',
    'ResizeEdge',
    'ShiftedCrop',
]

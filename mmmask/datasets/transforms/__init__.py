"""What happens to images on their way to the model."""

from .contrastive_crop import ContrastiveCrop
from .shifted_crop import ShiftedCrop

__all__ = ['ContrastiveCrop', 'ShiftedCrop']

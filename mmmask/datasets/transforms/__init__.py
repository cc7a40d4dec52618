"""What happens to images on their way to the model."""

from .clipped_crop import ClippedResizedCrop
from .contrastive_crop import ContrastiveCrop
from .random_resized_crop import RandomResizedCrop
from .shifted_crop import ShiftedCrop

__all__ = ['ClippedResizedCrop', 'ContrastiveCrop', 'RandomResizedCrop', 'ShiftedCrop']

"""Data sets and transforms. Samples hold decoded BGR images: no pipeline needs a loader."""

from .decoding import decode_image
from .digits import Digits
from .image_folder import ImageFolder

__all__ = ['Digits', 'ImageFolder', 'decode_image']

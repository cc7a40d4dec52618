"""Brightness and contrast of images with any number of channels."""

import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness

from mmmask.registry import TRANSFORMS


@TRANSFORMS.register_module()
class IntensityJitter(BaseTransform):
    """Change brightness, then contrast, of (H, W, C) pixels from 0 to 255 by random factors.

    Brightness is multiplied, and contrast is the distance from the mean of each channel. All
    channels of an image get the same two factors. The result is clipped to 0 to 255 and keeps its
    type. ``mmpretrain.RandomApply`` applies it to a part of the images.

    Args:
        brightness, contrast: the factors are uniform in 1 ± these.

    Raises:
        ValueError: for a strength outside of [0, 1].
    """

    def __init__(self, brightness: float = 0.4, contrast: float = 0.4) -> None:
        for name, strength in (('brightness', brightness), ('contrast', contrast)):
            if not 0 <= strength <= 1:
                raise ValueError(f'{name}={strength} must be in 0 to 1.')
        self.strengths = brightness, contrast

    @cache_randomness
    def sample_factors(self) -> np.ndarray:
        """Factors of brightness and contrast."""
        return 1 + np.multiply(self.strengths, np.random.uniform(-1, 1, size=2))

    def transform(self, results: dict) -> dict:
        """Change the image."""
        image = results['img']
        brightness, contrast = self.sample_factors()
        pixels = image.astype(np.float32) * brightness
        mean = pixels.mean(axis=(0, 1), keepdims=True)
        pixels = ((pixels - mean) * contrast + mean).clip(0, 255)
        pixels = pixels.round() if image.dtype == np.uint8 else pixels
        results['img'] = pixels.astype(image.dtype)
        return results

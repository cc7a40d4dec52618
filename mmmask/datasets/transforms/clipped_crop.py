"""Random crops as in MAE's linear probe."""

from math import exp, log, sqrt

import numpy as np
from mmcv.transforms.utils import cache_randomness
from mmpretrain.datasets.transforms import RandomResizedCrop

from mmmask.registry import TRANSFORMS


@TRANSFORMS.register_module()
class ClippedResizedCrop(RandomResizedCrop):
    """``mmpretrain.RandomResizedCrop`` whose size is sampled once and clipped to the image.

    The parent samples up to ten sizes until one fits, and then takes the centre of the image. MAE's
    linear probe clips the first one, as implementations for TensorFlow do, so crops that reach over
    a whole side are more frequent.
    """

    @cache_randomness
    def rand_crop_params(self, img: np.ndarray) -> tuple[int, int, int, int]:
        """(H, W, C) -> top, left, height and width of the crop."""
        height, width = img.shape[:2]
        area = np.random.uniform(*self.crop_ratio_range) * height * width
        aspect = exp(np.random.uniform(*map(log, self.aspect_ratio_range)))
        crop_height = min(round(sqrt(area / aspect)), height)
        crop_width = min(round(sqrt(area * aspect)), width)
        top = np.random.randint(height - crop_height + 1)
        left = np.random.randint(width - crop_width + 1)
        return top, left, crop_height, crop_width

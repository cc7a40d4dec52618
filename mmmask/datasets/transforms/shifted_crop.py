"""Windows of one image, slightly shifted."""

import numpy as np
from mmcv.transforms import BaseTransform

from mmmask.registry import TRANSFORMS


@TRANSFORMS.register_module()
class ShiftedCrop(BaseTransform):
    """Cut out a window whose top left corner is uniform in {0 … max_shift}².

    The pixel shift of Huang et al., *Contrastive Masked Autoencoders are Stronger Vision Learners*,
    TPAMI 2023: both views of an image are windows of the same enlarged crop, one in its corner
    (``max_shift=0``), the other shifted by less than two patches, so that they show the same place.

    Args:
        size: (H, W) of the window, or the side of a square.
        max_shift: largest shift, in pixels.

    Raises:
        ValueError: if max_shift is negative; on use, if the window does not fit into an image.
    """

    def __init__(self, size: int | tuple[int, int], max_shift: int = 0) -> None:
        if max_shift < 0:
            raise ValueError(f'max_shift={max_shift} must be 0 or more.')
        self.size = (size, size) if isinstance(size, int) else tuple(size)
        self.max_shift = max_shift

    def transform(self, results: dict) -> dict:
        """Cut out the window."""
        image = results['img']
        if any(
            side < window + self.max_shift
            for side, window in zip(image.shape[:2], self.size, strict=True)
        ):
            raise ValueError(
                f'a window of {self.size} shifted by up to {self.max_shift} does not fit into an '
                f'image of {image.shape[:2]}: enlarge the crop before it, or lower max_shift.'
            )
        top, left = np.random.randint(0, self.max_shift + 1, size=2)
        image = image[top : top + self.size[0], left : left + self.size[1]]
        results.update(img=image, img_shape=image.shape[:2])
        return results

    def __repr__(self) -> str:
        return f'ShiftedCrop(size={self.size}, max_shift={self.max_shift})'

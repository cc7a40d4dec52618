"""Crops around the object, as far as the model sees it."""

from collections.abc import Sequence
from math import exp, log, sqrt

import mmcv
import numpy as np
from mmpretrain.datasets.transforms import RandomResizedCrop

from mmmask.datasets.boxes import CropBoxes, place_crop
from mmmask.registry import TRANSFORMS


@TRANSFORMS.register_module()
class ContrastiveCrop(RandomResizedCrop):
    """Peng et al., *Crafting Better Contrastive Views for Siamese Representation Learning*, 2022.

    Sizes and aspect ratios are sampled as in ``mmpretrain.RandomResizedCrop``, but the centre of
    the crop lies in a box. Its position in the box is sampled from Beta(α, α), which avoids the
    middle for α below 1. :class:`mmmask.RefreshCropsHook` finds the boxes with the model that is
    being trained, one for each image, and decides from which epoch on they are used. Before that,
    crops are placed anywhere.

    Args:
        scale: (H, W) of the result, or the side of a square.
        alpha: of the Beta distribution; 1 is uniform, below it the middle is avoided.
        box: the same box (top, left, bottom, right) for all images, from the start and without a
            hook, in fractions of height and width.
        crop_ratio_range: area of the crop as a fraction of the image.
        **kwargs: ``aspect_ratio_range``, ``interpolation``, ``backend`` and ``max_attempts`` as in
            ``mmpretrain.RandomResizedCrop``.

    Raises:
        ValueError: if alpha is not above 0, or the box does not lie in the image.
        KeyError: on use, if the data set does not number its samples.
    """

    def __init__(
        self,
        scale: Sequence[int] | int,
        alpha: float = 0.1,
        box: Sequence[float] | None = None,
        crop_ratio_range: tuple[float, float] = (0.2, 1.0),
        **kwargs,
    ) -> None:
        super().__init__(scale, crop_ratio_range=crop_ratio_range, **kwargs)
        if not alpha > 0:
            raise ValueError(f'alpha={alpha} must be above 0: 1 is uniform, 0.1 avoids the middle.')
        if box is not None and not _is_box(box):
            raise ValueError(
                f'box={box} must be (top, left, bottom, right) in [0, 1], such as '
                '(0.25, 0.25, 0.75, 0.75).'
            )
        self.alpha = alpha
        self.box = box
        self.boxes: CropBoxes | None = None

    def transform(self, results: dict) -> dict:
        """Crop the image and resize the crop."""
        box = self.find_box(results)
        if box is None:
            return super().transform(results)
        image = results['img']
        top, left, height, width = self.draw_crop(image.shape[:2], box)
        image = mmcv.imresize(
            image[top : top + height, left : left + width],
            tuple(self.scale[::-1]),
            interpolation=self.interpolation,
            backend=self.backend,
        )
        results.update(img=image, img_shape=image.shape[:2])
        return results

    def find_box(self, results: dict) -> Sequence[float] | None:
        """The box of a sample, or None while there are none to use."""
        if self.boxes is None or self.box is not None:
            return self.box
        if 'sample_idx' not in results:
            raise KeyError(
                "ContrastiveCrop finds the box of an image by its 'sample_idx', which is not in "
                f'{sorted(results)}: use a data set derived from mmengine.dataset.BaseDataset, or '
                'give ContrastiveCrop a fixed box.'
            )
        return self.boxes.values[results['sample_idx']].numpy() if self.boxes.in_use else None

    def draw_crop(self, size: tuple[int, int], box: Sequence[float]) -> tuple[int, int, int, int]:
        """(H, W) of the image and a box -> top, left, height and width of a crop."""
        height, width = size
        shortest, longest = self.aspect_ratio_range
        for _ in range(self.max_attempts):
            area = np.random.uniform(*self.crop_ratio_range) * height * width
            aspect = exp(np.random.uniform(log(shortest), log(longest)))
            crop = round(sqrt(area / aspect)), round(sqrt(area * aspect))
            if 0 < crop[0] <= height and 0 < crop[1] <= width:
                draws = np.random.beta(self.alpha, self.alpha, size=2)
                return *place_crop(box, size, crop, draws), *crop
        # The largest middle part of an allowed aspect ratio.
        crop = min(height, round(width / shortest)), min(width, round(height * longest))
        return (height - crop[0]) // 2, (width - crop[1]) // 2, *crop


def _is_box(box: Sequence[float]) -> bool:
    return len(box) == 4 and 0 <= box[0] <= box[2] <= 1 and 0 <= box[1] <= box[3] <= 1

"""Normalisation of images with any number of channels."""

from collections.abc import Sequence

import torch
from mmpretrain.models import SelfSupDataPreprocessor

from mmmask.registry import MODELS


@MODELS.register_module()
class DataPreprocessor(SelfSupDataPreprocessor):
    """mmpretrain's ``SelfSupDataPreprocessor`` for images with any number of channels.

    Args:
        mean: of each channel, for pixels from 0 to 255, or one value for all.
        std: of each channel, or one value for all.
        **kwargs: as in ``mmpretrain.SelfSupDataPreprocessor``; ``bgr_to_rgb`` is for three
            channels.

    Raises:
        ValueError: if mean and std differ in length, a std is not above 0, or colours are reordered
            in images without colours.
    """

    def __init__(
        self, mean: Sequence[float] | None = None, std: Sequence[float] | None = None, **kwargs
    ) -> None:
        super().__init__(**kwargs)
        if (mean is None) != (std is None) or (mean is not None and len(mean) != len(std)):
            raise ValueError(f'mean={mean} and std={std} must have equally many values.')
        if mean is None:
            return
        if min(std) <= 0:
            raise ValueError(f'std={std} must be above 0: leave out channels that are constant.')
        if self._channel_conversion and len(mean) not in (1, 3):
            raise ValueError(
                f'bgr_to_rgb=True reorders three colours, but mean has {len(mean)} values: set '
                'bgr_to_rgb=False.'
            )
        self._enable_normalize = True
        for name, values in (('mean', mean), ('std', std)):
            values = torch.tensor(values, dtype=torch.float).view(-1, 1, 1)
            self.register_buffer(name, values, persistent=False)

"""How many channels images have, and what their values mean."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mmmask.doctor import tool

DTYPES = 'uint8', 'float32'


class MisfitError(ValueError):
    """A file contradicts what its data set states about channels or values."""


class PixelFormat(NamedTuple):
    """What a data set states about its images, from which every image is scaled alike.

    Whatever a file holds, a pipeline gets values from 0 to 255, so that mean, std, augmentations
    and pictures mean the same for all images.

    Attributes:
        channels: C. Three are BGR in a sample, as in mmcv; others stay in the order of the file.
        dtype: of the samples: ``'uint8'``, which is rounded, or ``'float32'``.
        value_range: lowest and highest value of the files, which become 0 and 255; or such a pair
            for each channel. None is 0 to 255, and refuses files that are not 8-bit.
        clip: set values outside of the range to its ends, and NaN to its low end, instead of
            refusing the file.
    """

    channels: int = 3
    dtype: str = 'uint8'
    value_range: Sequence | None = None
    clip: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether nothing is stated: any file becomes an 8-bit colour image."""
        return self == PLAIN

    def check(self) -> None:
        """Raise ValueError if the statements make no sense."""
        if self.channels < 1:
            raise ValueError(f'channels={self.channels} must be 1 or more.')
        if self.dtype not in DTYPES:
            raise ValueError(f'dtype={self.dtype!r} is not one of {DTYPES}.')
        if self.value_range is None:
            if self.clip:
                raise ValueError('clip=True needs value_range=(lowest, highest).')
            return
        shape = np.shape(self.value_range)
        if shape not in ((2,), (self.channels, 2)) or not np.all(np.subtract(*self._ends()) < 0):
            raise ValueError(
                f'value_range={self.value_range} must be a pair (lowest, highest), or one such '
                f'pair for each of {self.channels} channels.'
            )

    def scale(self, values: np.ndarray) -> np.ndarray:
        """(H, W, C) values of a file, BGR if C is 3 -> the pixels of a sample.

        Raises:
            MisfitError: if the values have no stated range, or lie outside of it.
        """
        if self.value_range is None and values.dtype != np.uint8:
            raise MisfitError(
                f'the file holds {values.dtype}, and the range of the images is not stated: '
                f'measure it by {tool("image_statistics.py")} FOLDER and set value_range=(lowest, '
                'highest) of the data set, or convert the file to 8 bits'
            )
        if self.value_range is None:
            return values.astype(self.dtype, copy=False)
        low, high = self._ends()
        if values.dtype == np.uint8 and high.max() > 255:
            raise MisfitError(
                f'the file holds 8-bit values, which cannot reach value_range={self.value_range}: '
                'separate the files of each depth, or state the range of these'
            )
        if not self.clip:
            self._check_values(values, low, high)
        scaled = values.astype(np.result_type(values.dtype, np.float32))
        scaled = (scaled - low.astype(scaled.dtype)) * (255 / (high - low)).astype(scaled.dtype)
        scaled = np.nan_to_num(scaled, copy=False, nan=0).clip(0, 255)
        return (scaled.round() if self.dtype == 'uint8' else scaled).astype(self.dtype)

    def _ends(self) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest values, one or one for each channel of a sample."""
        ends = np.asarray(self.value_range, dtype=float)
        ends = ends[::-1] if ends.shape == (3, 2) else ends  # a sample is BGR
        return ends[..., 0], ends[..., 1]

    def _check_values(self, values: np.ndarray, low: np.ndarray, high: np.ndarray) -> None:
        smallest, largest = values.min(axis=(0, 1)), values.max(axis=(0, 1))
        # A comparison with NaN is false.
        if not ((smallest >= low).all() and (largest <= high).all()):
            raise MisfitError(
                f'the file has values from {smallest.min():g} to {largest.max():g}, which are not '
                f'all in value_range={self.value_range}: widen it, or set clip=True'
            )


PLAIN = PixelFormat()

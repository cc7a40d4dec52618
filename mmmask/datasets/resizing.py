"""Antialiased changes of size."""

import numpy as np
import torch
import torch.nn.functional as F


def resize_image(
    image: np.ndarray, size: tuple[int, int], interpolation: str = 'bicubic'
) -> np.ndarray:
    """(H, W, C) -> (h, w, C), as Pillow resizes uint8 but several times faster.

    Floating-point pixels stay in 0 to 255, like those of uint8.

    PyTorch's kernel reads the pixels where they are and writes one plane for each channel. So the
    result is not contiguous, and a later transposition to (C, h, w) copies nothing.

    Args:
        image: an array without negative strides.
        size: (h, w) of the result.
        interpolation: ``'bicubic'`` or ``'bilinear'``.
    """
    pixels = torch.from_numpy(image.transpose(2, 0, 1)[None])
    resized = F.interpolate(pixels, size=tuple(size), mode=interpolation, antialias=True)
    if resized.is_floating_point():
        resized.clamp_(0, 255)
    return resized.numpy()[0].transpose(1, 2, 0)


def shrink_image(image: np.ndarray, side: int) -> np.ndarray:
    """(H, W, C) -> the same image with a short side of at most so many pixels."""
    scale = side / min(image.shape[:2])
    if scale >= 1:
        return image
    return resize_image(image, [max(side, round(length * scale)) for length in image.shape[:2]])

"""Pixels as targets (He et al., Masked Autoencoders, CVPR 2022, section 3)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..layers import patchify, unpatchify


class PixelTarget(nn.Module):
    """The pixels of each patch, as the network sees them (after mean and std normalisation).

    Args:
        patch_size: side of a patch in pixels; a sequence gives several scales. A
            :class:`mmmask.models.MaskedImageModel` fills in the patch size of its backbone.
        normalize: standardise each patch by its own mean and **unbiased** variance over all
            pixels and channels, with 1e-6 added to the variance (MAE's reference).
    """

    eps = 1e-6

    def __init__(self, patch_size: int | Sequence[int], normalize: bool = True) -> None:
        super().__init__()
        self.patch_size = patch_size if isinstance(patch_size, int) else tuple(patch_size)
        self.normalize = normalize

    @property
    def sizes(self) -> tuple[int, ...]:
        """Pixels along the side of what a target vector describes, for each scale."""
        return (self.patch_size,) if isinstance(self.patch_size, int) else self.patch_size

    def channels(self, in_channels: int) -> int | tuple[int, ...]:
        """Length of the target vectors of images with C channels: p·p·C, a tuple for scales."""
        if isinstance(self.patch_size, int):
            return self.patch_size**2 * in_channels
        return tuple(size**2 * in_channels for size in self.patch_size)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        """(B, C, H, W) -> (B, N, p·p·C) fp32, or a tuple of these, one per patch size.

        Vectors are flattened in the order (row, column, channel), channel fastest.

        Raises:
            ValueError: if a patch size does not divide the image.
        """
        if isinstance(self.patch_size, int):
            return self._target(images, self.patch_size)
        return tuple(self._target(images, size) for size in self.patch_size)

    @torch.no_grad()
    def restore(
        self, values: Tensor | Sequence[Tensor], images: Tensor
    ) -> Tensor | tuple[Tensor, ...]:
        """(B, N, p·p·C) targets or predictions -> (B, C, H, W) in the colour space of ``images``.

        Standardised values are scaled by the mean and standard deviation of the patches of
        ``images``. A real reconstruction would not know these, so the result is for pictures only.
        Several scales give a tuple.
        """
        if isinstance(self.patch_size, int):
            return self._restore(values, images, self.patch_size)
        pairs = zip(values, self.patch_size, strict=True)
        return tuple(self._restore(value, images, size) for value, size in pairs)

    def _target(self, images: Tensor, size: int) -> Tensor:
        patches = patchify(images.float(), size)
        if not self.normalize:
            return patches
        mean, deviation = self._statistics(patches)
        return (patches - mean) / deviation

    def _restore(self, values: Tensor, images: Tensor, size: int) -> Tensor:
        values = values.float()
        if self.normalize:
            mean, deviation = self._statistics(patchify(images.float(), size))
            values = values * deviation + mean
        grid = (images.shape[-2] // size, images.shape[-1] // size)
        return unpatchify(values, grid, size)

    def _statistics(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N, D) -> (B, N, 1) mean and (B, N, 1) standard deviation."""
        variance, mean = torch.var_mean(patches, dim=-1, keepdim=True, correction=1)
        return mean, (variance + self.eps).sqrt()

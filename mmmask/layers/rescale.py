"""Rescaling of channels-last maps."""

import torch.nn.functional as F
from torch import Tensor, nn


class Upsample2x(nn.ConvTranspose2d):
    """A 2×2 transposed convolution of stride 2 on channels-last maps.

    Parameters and initialisation are those of ``nn.ConvTranspose2d``. Because its windows do not
    overlap, it is computed as one matrix product per position, without changing the memory layout.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size=2, stride=2)

    def forward(self, maps: Tensor) -> Tensor:
        """(B, h, w, C) -> (B, 2h, 2w, D)."""
        num_images, height, width, _ = maps.shape
        weight = self.weight.permute(2, 3, 1, 0).flatten(0, 2)
        pixels = F.linear(maps, weight, self.bias.repeat(4))
        pixels = pixels.view(num_images, height, width, 2, 2, self.out_channels)
        return pixels.permute(0, 1, 3, 2, 4, 5).reshape(
            num_images, 2 * height, 2 * width, self.out_channels
        )


class AveragePool2x(nn.Module):
    """Mean over 2×2 windows of channels-last maps."""

    def forward(self, maps: Tensor) -> Tensor:
        """(B, h, w, C) -> (B, h/2, w/2, C).

        Raises:
            ValueError: if a side of the map is odd.
        """
        if maps.shape[1] % 2 or maps.shape[2] % 2:
            raise ValueError(
                f'a {maps.shape[1]}x{maps.shape[2]} patch grid cannot be halved: both sides of the '
                'image must be multiples of twice the patch size.'
            )
        return maps.unflatten(1, (-1, 2)).unflatten(3, (-1, 2)).mean(dim=(2, 4))

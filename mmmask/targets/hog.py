"""Histograms of oriented gradients as targets, for any number of scales."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class HOGTarget(nn.Module):
    """Histograms of oriented gradients (HOG) of square cells; gradients are computed once.

    Each channel of the normalised image is treated separately, as in the reference code of LocalMIM
    (Wang et al., Masked Image Modeling with Local Multi-Scale Reconstruction, CVPR 2023) and
    MaskFeat:

    - Sobel gradients of the reflect-padded image. gx is positive where the image darkens to the
      right, gy where it darkens downwards.
    - The angle is atan2(gx, gy), in this order, so a vertical gradient has angle zero. It is
      unsigned: bin = floor(angle / π · ``num_bins``) mod ``num_bins``. Each pixel adds its whole
      magnitude to one bin.
    - A cell is the sum over its pixels. Its ``num_bins`` values are divided by their L2 norm (at
      least 1e-12). There is no Gaussian window, no block of cells and no clipping.

    A flat cell has no orientation, and its target is zero. ``bias`` adds a constant to (gx, gy), so
    that flat cells have one fixed bin instead. As in the reference, there is one random pair per
    scale. The pairs are sampled once and are part of the state dict as ``bias`` (number of scales,
    2), so a resumed run keeps its targets. Each scale then needs a binning of its own.

    With ``strongest``, each pixel contributes its gradient in the channel where that is largest, as
    in the original HOG (Dalal and Triggs, CVPR 2005, section 6.2). The length of the target then
    does not depend on the number of channels, which suits images with many bands.

    Args:
        num_bins: orientations over 180 degrees.
        cell_sizes: sides of the cells in pixels, one for each scale; sizes may repeat. With an int
            the target is a single tensor instead of a tuple.
        bias: whether to add a random constant to the gradients.
        strongest: whether to take the strongest gradient of all channels at each pixel instead of
            one histogram for each channel.
    """

    def __init__(
        self,
        num_bins: int = 9,
        cell_sizes: int | Sequence[int] = (4, 8, 16, 32),
        bias: bool = False,
        strongest: bool = False,
    ) -> None:
        super().__init__()
        self.single_scale = isinstance(cell_sizes, int)
        self.cell_sizes = (cell_sizes,) if self.single_scale else tuple(cell_sizes)
        self.num_bins = num_bins
        self.strongest = strongest
        if num_bins < 1 or not self.cell_sizes or min(self.cell_sizes) < 1:
            raise ValueError(
                f'num_bins={num_bins} and cell_sizes={cell_sizes} must be positive, '
                'with at least one cell size.'
            )
        # Uniform in ±1/3, as PyTorch initialises the bias of the reference's 3x3 convolution.
        pairs = torch.empty(len(self.cell_sizes), 2).uniform_(-1 / 3, 1 / 3) if bias else None
        self.register_buffer('bias', pairs)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Pixels along the side of what a target vector describes, for each scale."""
        return self.cell_sizes

    def channels(self, in_channels: int) -> int | tuple[int, ...]:
        """Length of the target vectors of images with C channels: C·bins, a tuple for scales.

        With ``strongest`` it is the number of bins.
        """
        channels = self.num_bins * (1 if self.strongest else in_channels)
        return channels if self.single_scale else (channels,) * len(self.cell_sizes)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        """(B, C, H, W) -> (B, (H/p)·(W/p), C·num_bins) fp32 for each cell size p.

        Cells are in raster order, and the bins of the first channel come first. With ``strongest``
        C is 1 in the result.

        Raises:
            ValueError: if a cell size does not divide the image.
        """
        height, width = images.shape[-2:]
        for size in self.cell_sizes:
            if height % size or width % size:
                raise ValueError(
                    f'images of {height}x{width} px cannot be cut into HOG cells of {size} px '
                    f'(cell_sizes={self.cell_sizes}): both sides must be multiples of every size.'
                )
        # In half precision, angles near the border between two bins fall into the wrong one.
        with torch.autocast(images.device.type, enabled=False):
            gradients = sobel_gradients(images.float())
            if self.strongest:
                channel = torch.hypot(*gradients).argmax(dim=1, keepdim=True)
                gradients = tuple(gradient.gather(1, channel) for gradient in gradients)
            targets = tuple(
                F.normalize(histograms, dim=-1).flatten(3).flatten(1, 2)
                for histograms in self._histograms(*gradients)
            )
        return targets[0] if self.single_scale else targets

    def _histograms(self, gx: Tensor, gy: Tensor) -> list[Tensor]:
        """(B, C, H, W) gradients -> (B, H/p, W/p, C, num_bins) for each cell size p."""
        if self.bias is not None:
            return [
                cell_histograms(gx + pair[0], gy + pair[1], size, self.num_bins)
                for size, pair in zip(self.cell_sizes, self.bias.float(), strict=True)
            ]
        histograms = {}
        for size in sorted(set(self.cell_sizes)):
            finer = [other for other in histograms if size % other == 0]
            if finer:
                histograms[size] = merge_cells(histograms[finer[-1]], size // finer[-1])
            else:
                histograms[size] = cell_histograms(gx, gy, size, self.num_bins)
        return [histograms[size] for size in self.cell_sizes]


def sobel_gradients(images: Tensor) -> tuple[Tensor, Tensor]:
    """(B, C, H, W) -> two (B, C, H, W): [1 0 -1] across and [1 2 1] along, with reflect padding."""
    padded = F.pad(images, (1, 1, 1, 1), mode='reflect')
    # Differences come first, so that a flat region gives exactly zero. A convolution may leave
    # rounding errors, which the normalisation of a cell would amplify to a full-sized target.
    difference = padded[..., :-2] - padded[..., 2:]
    gx = difference[..., :-2, :] + difference[..., 2:, :]
    gx.add_(difference[..., 1:-1, :], alpha=2)
    difference = padded[..., :-2, :] - padded[..., 2:, :]
    gy = difference[..., :-2] + difference[..., 2:]
    gy.add_(difference[..., 1:-1], alpha=2)
    return gx, gy


def cell_histograms(gx: Tensor, gy: Tensor, size: int, num_bins: int) -> Tensor:
    """(B, C, H, W) gradients -> (B, H/p, W/p, C, num_bins) magnitudes summed by cell and bin."""
    num_images, channels, height, width = gx.shape
    rows, columns = height // size, width // size

    def by_cell(values: Tensor) -> Tensor:
        cells = values.view(num_images, channels, rows, size, columns, size)
        return cells.permute(0, 2, 4, 1, 3, 5).reshape(-1, size * size)

    magnitude = by_cell(torch.hypot(gx, gy))
    # The angle of a NaN pixel must still be a valid index; its magnitude propagates the NaN.
    angle = torch.atan2(gx, gy).nan_to_num_(0)
    index = by_cell(angle.div_(math.pi).mul_(num_bins).floor_().add_(num_bins).int())
    # A histogram of weighted pixels is a bag of one-hot rows. The angle is in [-π, π], including
    # both ends, so the table repeats the bins and the index needs no modulo.
    one_hot = torch.eye(num_bins, device=gx.device).repeat(3, 1)[: 2 * num_bins + 1]
    histograms = F.embedding_bag(index, one_hot, per_sample_weights=magnitude, mode='sum')
    return histograms.view(num_images, rows, columns, channels, num_bins)


def merge_cells(histograms: Tensor, factor: int) -> Tensor:
    """(B, h, w, C, num_bins) -> (B, h/factor, w/factor, C, num_bins), sums of square groups."""
    # Two reductions over one dimension each are several times faster on CPU than one over both.
    rows = histograms.unflatten(1, (-1, factor)).sum(2)
    return rows.unflatten(2, (-1, factor)).sum(3)

"""Random masking of blocks of patches."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .mask import Mask, mask_from_scores, num_visible
from .random import RandomMask


class BlockMask(RandomMask):
    """Hide random ``block_size`` × ``block_size`` blocks of patches, aligned to the grid.

    This is :class:`RandomMask` on the grid of blocks: ``int(blocks · (1 − ratio))`` of them stay
    visible. Huang et al. (arXiv 2207.13532) keep 17 of 49 blocks, which are 68 of 196 patches.

    Args:
        ratio: fraction of the blocks to hide, in (0, 1).
        block_size: side of a block in patches; it must divide both sides of the grid.
    """

    def __init__(self, ratio: float = 0.65, block_size: int = 2) -> None:
        super().__init__(ratio)
        if block_size < 1:
            raise ValueError(f'block_size={block_size} must be at least 1.')
        self.block_size = block_size

    def forward(self, num_images, grid, device='cpu', evidence=None) -> Mask:
        """B, (h, w) -> Mask of h·w patches.

        Raises:
            ValueError: if the block does not divide the grid, or no block is visible or hidden.
        """
        size = self.block_size
        if grid[0] % size or grid[1] % size:
            raise ValueError(
                f'block_size={size} does not divide the {grid[0]}x{grid[1]} patch grid: '
                'choose a divisor of both sides.'
            )
        rows, columns = grid[0] // size, grid[1] // size
        num_keep = num_visible(rows * columns, self.ratio) * size**2
        # All patches of a block have the same score and the sort is stable: blocks stay together.
        scores = torch.rand(num_images, rows, columns, device=device)
        scores = scores.repeat_interleave(size, 1).repeat_interleave(size, 2).flatten(1)
        return mask_from_scores(scores, num_keep, grid)


class InverseBlockMask(RandomMask):
    """Keep random square blocks of patches and hide the rest (Baevski et al., 2212.07525, sec. 3).

    Blocks are placed around random patches. They may overlap and are cut at the border. Their
    number is int(N · (1 − ratio + surplus) / block_size²). As in the released code, patches are
    then hidden, or shown, at random, until all images have the same number of visible patches.

    Args:
        ratio: fraction of the patches to hide, in (0, 1).
        block_size: side of a block in patches, an odd number.
        surplus: fraction of the patches that makes up for overlaps and borders.

    Raises:
        ValueError: for an even block size or a negative surplus.
    """

    def __init__(self, ratio: float = 0.8, block_size: int = 3, surplus: float = 0.07) -> None:
        super().__init__(ratio)
        if block_size < 1 or block_size % 2 == 0 or surplus < 0:
            raise ValueError(
                f'block_size={block_size} must be an odd number, so that blocks have a centre, and '
                f'surplus={surplus} must not be negative.'
            )
        self.block_size = block_size
        self.surplus = surplus

    def forward(self, num_images, grid, device='cpu', evidence=None) -> Mask:
        """B, (h, w) -> Mask of h·w patches."""
        num_patches, size = grid[0] * grid[1], self.block_size
        num_keep = num_visible(num_patches, self.ratio)
        num_blocks = max(1, int(num_patches * (1 - self.ratio + self.surplus) / size**2))
        centres = torch.randint(num_patches, (num_images, num_blocks), device=device)
        maps = torch.zeros(num_images, num_patches, device=device).scatter(1, centres, 1.0)
        maps = F.max_pool2d(maps.view(num_images, 1, *grid), size, stride=1, padding=size // 2)
        scores = torch.rand(num_images, num_patches, device=device) - maps.flatten(1)
        return mask_from_scores(scores, num_keep, grid)


class TargetBlockMask(RandomMask):
    """Hide several blocks, which are predicted one by one (Assran et al., I-JEPA, CVPR 2023).

    Every block has T = int(scale · N) patches: those that are nearest to a random point, where the
    distance is the larger one of the distances in rows and in columns, scaled by a random aspect
    ratio. That is a rectangle up to its last row or column. Blocks may overlap. The encoder sees
    int(N · (1 − num_targets · scale)) random patches outside of all blocks. These numbers are the
    same for every image and step, so shapes are fixed and nothing waits for the device.

    The released code samples one size of blocks for each batch, and cuts the visible patches of all
    images to the smallest number in the batch.

    Args:
        num_targets: M, the number of target blocks.
        scale: fraction of the patches in a block.
        aspect_ratios: smallest and largest height over width of a block.

    Attributes:
        ratio: fraction of the patches that the encoder does not see.

    Raises:
        ValueError: if the blocks may cover the image, or for aspect ratios that are not positive.
    """

    def __init__(
        self,
        num_targets: int = 4,
        scale: float = 0.175,
        aspect_ratios: tuple[float, float] = (0.75, 1.5),
    ) -> None:
        if num_targets < 1 or not 0 < num_targets * scale < 1:
            raise ValueError(
                f'num_targets={num_targets} blocks of scale={scale} may cover the whole image: '
                'their product must lie in (0, 1).'
            )
        if not 0 < aspect_ratios[0] <= aspect_ratios[1]:
            raise ValueError(f'aspect_ratios={aspect_ratios} must be positive and ascending.')
        super().__init__(num_targets * scale)
        self.num_targets = num_targets
        self.scale = scale
        self.aspect_ratios = tuple(aspect_ratios)

    def forward(self, num_images, grid, device='cpu', evidence=None) -> Mask:
        """B, (h, w) -> Mask of h·w patches, of which (B, M, T) are predicted.

        Raises:
            ValueError: if a block has no patch, or no patch is visible.
        """
        num_patches = grid[0] * grid[1]
        num_keep, size = num_visible(num_patches, self.ratio), int(num_patches * self.scale + 1e-6)
        if size < 1:
            raise ValueError(
                f'scale={self.scale} leaves no patch for a block on a {grid[0]}x{grid[1]} grid: '
                'raise it, or use larger images or smaller patches.'
            )
        aspect, row, column = torch.rand(3, num_images, self.num_targets, 1, device=device)
        aspect = self.aspect_ratios[0] + aspect * (self.aspect_ratios[1] - self.aspect_ratios[0])
        index = torch.arange(num_patches, device=device)
        distance = torch.maximum(
            _distance(index // grid[1], grid[0], (size * aspect).sqrt(), row),
            _distance(index % grid[1], grid[1], (size / aspect).sqrt(), column),
        )
        targets = distance.argsort(dim=2, stable=True)[..., :size]
        scores = torch.rand(num_images, num_patches, device=device)
        scores = scores + torch.zeros_like(scores).scatter(1, targets.flatten(1), 1.0)
        return mask_from_scores(scores, num_keep, grid)._replace(ids_predict=targets)


def _distance(index: Tensor, side: int, length: Tensor, place: Tensor) -> Tensor:
    """Distance along one side to the centre of a block of this length, at 0..1 of where it fits."""
    length = length.clamp(max=side)
    centre = length / 2 + place * (side - length)
    return (index + 0.5 - centre).abs() / length

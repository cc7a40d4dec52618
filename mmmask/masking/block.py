"""Random masking of square blocks of patches."""

import torch
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

    def forward(
        self,
        num_images: int,
        grid: tuple[int, int],
        device: torch.device | str = 'cpu',
        evidence: Tensor | None = None,
    ) -> Mask:
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

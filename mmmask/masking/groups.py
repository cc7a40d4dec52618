"""Groups of visible positions in the maps of an encoder (Liu et al., MaskDeep, 2023)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .mask import mask_from_scores

Grid = tuple[int, int]


class FeatureGroupMask(nn.Module):
    """Sample, at every level of a feature pyramid, G small sets of positions that stay visible.

    Each image has its own sets, sampled uniformly without replacement. Nothing but these sets is
    read from the feature maps. If G disjoint sets do not fit into a level, they are independent.

    The paper's abstract states that deep features are masked and that several groups add no
    computation in the encoder. The ratios, the number of groups and the sampling are choices of
    this project.

    Args:
        ratios: fraction of the positions to hide at each level, finest first, in [0, 1).
        num_groups: G, the number of sets per image and level.
        disjoint: whether the sets of one level have no position in common.
        aligned: sample on the last, coarsest level, and on the others among the positions below its
            visible cells. If these are too few, the remaining positions come from elsewhere.

    Raises:
        ValueError: for a ratio outside [0, 1), or fewer than one group.
    """

    def __init__(
        self,
        ratios: Sequence[float] = (0.95, 0.90, 0.75),
        num_groups: int = 4,
        disjoint: bool = True,
        aligned: bool = False,
    ) -> None:
        super().__init__()
        if not ratios or not all(0 <= ratio < 1 for ratio in ratios):
            raise ValueError(
                f'ratios={ratios} must lie in [0, 1): the fraction of positions to hide at each '
                'level, such as 0.75.'
            )
        if num_groups < 1:
            raise ValueError(f'num_groups={num_groups} must be at least 1.')
        self.ratios = tuple(ratios)
        self.num_groups = num_groups
        self.disjoint = disjoint
        self.aligned = aligned

    def num_visible(self, grids: Sequence[Grid]) -> tuple[int, ...]:
        """(h, w) of each level -> K of each level: N·(1 − ratio) rounded down, at least 1.

        Raises:
            ValueError: if there are more or fewer grids than ratios.
        """
        if len(grids) != len(self.ratios):
            raise ValueError(
                f'ratios={self.ratios} are for {len(self.ratios)} levels, but the encoder returns '
                f'{len(grids)} feature maps: set one ratio for each of backbone.out_indices.'
            )
        return tuple(
            max(1, int(h * w * (1 - ratio) + 1e-6))
            for (h, w), ratio in zip(grids, self.ratios, strict=True)
        )

    def forward(
        self, num_images: int, grids: Sequence[Grid], device: torch.device | str = 'cpu'
    ) -> tuple[Tensor, ...]:
        """B, (h, w) of each level -> (B, G, K) indices of visible positions for each level."""
        levels = list(zip(grids, self.num_visible(grids), strict=True))
        if not self.aligned:
            return tuple(self._draw(num_images, *level, device) for level in levels)
        coarsest = self._draw(num_images, *levels[-1], device)
        is_visible = torch.zeros(
            (*coarsest.shape[:2], grids[-1][0] * grids[-1][1]), dtype=torch.bool, device=device
        ).scatter_(2, coarsest, True)
        finer = [
            self._draw(
                num_images, *level, device, is_visible[..., _parents(level[0], grids[-1], device)]
            )
            for level in levels[:-1]
        ]
        return (*finer, coarsest)

    def _draw(
        self,
        num_images: int,
        grid: Grid,
        num_keep: int,
        device: torch.device | str,
        preferred: Tensor | None = None,
    ) -> Tensor:
        """(B, G, N) positions to prefer -> (B, G, K) indices."""
        num_positions = grid[0] * grid[1]
        fits = self.num_groups * num_keep <= num_positions
        # Disjoint sets are parts of one permutation; independent ones have one permutation each.
        num_orders = 1 if self.disjoint and fits else self.num_groups
        scores = torch.rand(num_images, num_orders, num_positions, device=device)
        if preferred is not None:
            scores = scores + ~preferred
        kept = self.num_groups * num_keep // scores.shape[1]
        order = mask_from_scores(scores.flatten(0, 1), kept, grid).ids_keep
        return order.view(num_images, self.num_groups, num_keep)


def _parents(grid: Grid, coarse: Grid, device: torch.device | str) -> Tensor:
    """(h, w), (h', w') -> (h·w,) index of the coarse cell that each position lies in."""
    rows = torch.arange(grid[0], device=device) * coarse[0] // grid[0]
    columns = torch.arange(grid[1], device=device) * coarse[1] // grid[1]
    return (rows.unsqueeze(1) * coarse[1] + columns).flatten()

"""One random mask for a whole batch (Huang et al., GreenMIM, NeurIPS 2022)."""

import torch

from .mask import Mask, mask_from_scores
from .random import RandomMask


class SharedMask(Mask):
    """A mask with equal rows whose visible patches are also known on the host.

    Attributes:
        shared_ids: the visible patches as Python numbers, in the order the encoder sees them.
    """

    shared_ids: tuple[int, ...] | None = None

    def _replace(self, **parts) -> 'SharedMask':
        mask = super()._replace(**parts)
        if 'ids_keep' not in parts:
            mask.shared_ids = self.shared_ids
        return mask


def shared_visible(mask: Mask) -> tuple[int, ...]:
    """The K visible patches that all images have in common, in the order the encoder sees them.

    Masks other than a :class:`SharedMask` are read from the device, which synchronises with it.

    Raises:
        ValueError: if the images have different visible patches.
    """
    if getattr(mask, 'shared_ids', None) is not None:
        return mask.shared_ids
    first, *others = mask.ids_keep.tolist()
    if any(ids != first for ids in others):
        raise ValueError(
            'the images of this batch have different visible patches, but this encoder needs one '
            'mask for the whole batch: use mmmask.SharedUnitMask, or set masking.shared=True of '
            'mmmask.EvolvedHierarchyMask.'
        )
    return tuple(first)


class SharedUnitMask(RandomMask):
    """Hide the same random units of every image of the local batch.

    For encoders that pack the visible tokens of all images in the same way. Every process samples
    its own mask because every process has its own seed.

    A unit is hidden if its rank in a random order, counted from 0, is at most int(ratio·N). The
    reference implementation of LocalMIM uses ``<=`` here, so one more unit is hidden than the ratio
    implies: 37 of 49 at 0.75.

    Args:
        ratio: fraction of the units to hide, in (0, 1).
    """

    @torch.compiler.disable
    def forward(self, num_images, grid, device='cpu', evidence=None) -> SharedMask:
        """B, (h, w) -> SharedMask of h·w units, visible ones in raster order, all rows equal.

        It is sampled on the host, where the encoder needs it, outside of a compiled graph, and
        copied asynchronously.

        Raises:
            ValueError: if no unit stays visible.
        """
        num_units = grid[0] * grid[1]
        num_keep = num_units - int(num_units * self.ratio + 1e-6) - 1
        if num_keep < 1:
            raise ValueError(
                f'ratio={self.ratio} hides all {num_units} units of a {grid[0]}x{grid[1]} grid: '
                'lower it, or use larger images or smaller units.'
            )
        hidden = torch.randperm(num_units) < num_units - num_keep
        mask = mask_from_scores(hidden.unsqueeze(0), num_keep, grid)
        parts = (part.to(device, non_blocking=True) for part in mask[:3])
        shared = SharedMask(*(part.expand(num_images, -1) for part in parts), grid)
        shared.shared_ids = tuple(mask.ids_keep[0].tolist())
        return shared

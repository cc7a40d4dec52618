"""Random masking of single patches (He et al., Masked Autoencoders, CVPR 2022, section 3)."""

import torch
from torch import Tensor, nn

from .mask import Mask, mask_from_scores, num_visible


class RandomMask(nn.Module):
    """Hide a random ``ratio`` of each image's patches.

    Args:
        ratio: fraction of the patches to hide, in (0, 1).
    """

    needs_evidence = False

    def __init__(self, ratio: float = 0.75) -> None:
        super().__init__()
        if not 0 < ratio < 1:
            raise ValueError(
                f'ratio={ratio} must lie in (0, 1): the fraction of patches to hide, such as 0.75.'
            )
        self.ratio = ratio

    def forward(
        self,
        num_images: int,
        grid: tuple[int, int],
        device: torch.device | str = 'cpu',
        evidence: Tensor | None = None,
    ) -> Mask:
        """B, (h, w) -> Mask of h·w patches, sampled by the default generator of the device."""
        num_patches = grid[0] * grid[1]
        scores = torch.rand(num_images, num_patches, device=device)
        return mask_from_scores(scores, num_visible(num_patches, self.ratio), grid)

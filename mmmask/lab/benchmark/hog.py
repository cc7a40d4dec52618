"""HOG targets of several scales."""

from collections.abc import Callable

import torch
from mmpretrain.models import HOGGenerator
from torch import Tensor

from mmmask.targets import HOGTarget


class _PlainHOG(HOGGenerator):
    """mmpretrain's generator without its last step, in which a grid of 14×14 is hard-coded."""

    def _reshape(self, histograms: Tensor) -> Tensor:
        return histograms.flatten(3).flatten(1, 2).transpose(1, 2)


def hog_calls(batch_size: int, img_size: int, device: torch.device) -> dict[str, Callable]:
    """HOG of four scales at once, scale by scale, and scale by scale as mmpretrain computes it."""
    images = torch.randn(batch_size, 3, img_size, img_size, device=device)
    cell_sizes = (4, 8, 16, 32)
    together = HOGTarget(9, cell_sizes)
    alone = [HOGTarget(9, size) for size in cell_sizes]
    plain = [_PlainHOG(9, size, gaussian_window=0).to(device) for size in cell_sizes]
    return {
        'one HOGTarget of four scales': lambda: together(images),
        'four HOGTargets of one scale': lambda: [target(images) for target in alone],
        "four of mmpretrain's HOGGenerator": lambda: [target(images) for target in plain],
    }

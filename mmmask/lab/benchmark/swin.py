"""Cost of a Swin encoder on visible tokens only."""

from collections.abc import Callable

import torch

from mmmask.masking import Mask, SharedUnitMask
from mmmask.models import MaskedSwinTransformer


def swin_calls(batch_size: int, img_size: int, device: torch.device) -> dict[str, Callable]:
    """Forward and backward of Swin-B with a new mask at every call, and with nothing hidden.

    The time includes sampling the mask and planning its groups.
    """
    torch.manual_seed(0)
    backbone = MaskedSwinTransformer(
        arch='base', img_size=img_size, out_indices=(0, 1, 2, 3), out_after_downsample=True
    )
    backbone.to(device).train()
    images = torch.randn(batch_size, 3, img_size, img_size, device=device)
    masking, grid = SharedUnitMask(0.75), backbone.grid(images)

    def train(mask: Mask | None) -> None:
        backbone.zero_grad()
        sum(tap.float().square().mean() for tap in backbone(images, mask)).backward()

    return {
        'Swin-B on visible units': lambda: train(masking(batch_size, grid, device)),
        'Swin-B on everything': lambda: train(None),
    }

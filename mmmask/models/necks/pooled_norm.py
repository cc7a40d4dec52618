"""Neck for the classification of Swin features."""

from mmengine.model import BaseModule
from torch import Tensor, nn

from mmmask.registry import MODELS


@MODELS.register_module()
class PooledNorm(BaseModule):
    """Global average pooling, then LayerNorm, as in LocalMIM's fine-tuning of Swin.

    The Swin of mmpretrain applies the norm first and pools afterwards.

    Args:
        in_channels: width of the last map.
        eps: epsilon of the norm.
    """

    def __init__(self, in_channels: int, eps: float = 1e-6, init_cfg=None) -> None:
        super().__init__(init_cfg)
        self.norm = nn.LayerNorm(in_channels, eps=eps)

    def forward(self, taps: tuple[Tensor, ...]) -> tuple[Tensor]:
        """Feature maps (B, C, H, W), of which the last is used -> one (B, C) vector."""
        return (self.norm(taps[-1].mean(dim=(2, 3))),)

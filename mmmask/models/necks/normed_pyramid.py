"""A feature pyramid that is pre-trained with the encoder and can be used by detectors."""

from collections.abc import Sequence

import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule, ModuleList
from torch import Tensor

from mmmask.models.mlp import SYNC_BN
from mmmask.registry import MODELS


@MODELS.register_module()
class FeaturePyramid(BaseModule):
    """Lin et al., *Feature Pyramid Networks*, CVPR 2017, with a norm after every convolution.

    Names are those of ``FPN`` of mmdet, whose convolutions have no bias before a norm. The export
    merges the biases into the norms.

    Args:
        in_channels: C_l of the maps, finest first; filled in by the algorithm if it knows them.
        out_channels: width of the pyramid.
        norm_cfg: norm of all convolutions.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int = 256,
        norm_cfg: dict = SYNC_BN,
        init_cfg=None,
    ) -> None:
        super().__init__(init_cfg or dict(type='Xavier', layer='Conv2d', distribution='uniform'))
        self.out_channels = (out_channels,) * len(in_channels)
        options = dict(bias=True, norm_cfg=norm_cfg, act_cfg=None)
        self.lateral_convs = ModuleList(
            ConvModule(channels, out_channels, 1, **options) for channels in in_channels
        )
        self.fpn_convs = ModuleList(
            ConvModule(out_channels, out_channels, 3, padding=1, **options) for _ in in_channels
        )

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """(B, C_l, H_l, W_l) -> (B, out_channels, H_l, W_l) for each level."""
        summed = [conv(level) for conv, level in zip(self.lateral_convs, maps, strict=True)]
        for fine in range(len(summed) - 2, -1, -1):
            size = summed[fine].shape[2:]
            summed[fine] = summed[fine] + F.interpolate(summed[fine + 1], size, mode='nearest')
        return tuple(conv(level) for conv, level in zip(self.fpn_convs, summed, strict=True))

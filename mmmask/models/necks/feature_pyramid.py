"""Feature pyramids from the single resolution of a plain vision transformer."""

import math
from collections.abc import Sequence

import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from mmpretrain.models.utils import LayerNorm2d
from torch import Tensor, nn

from mmmask.registry import MODELS


@MODELS.register_module()
class SimpleFeaturePyramid(BaseModule):
    """Computes all levels from the last map of a plain backbone (Li et al., ViTDet, ECCV 2022).

    A level is rescaled by transposed convolutions or by max-pooling. Scale 4 has two transposed
    convolutions with a norm and GELU between them; each halves the width. 1×1 and 3×3 convolutions
    follow, each with a norm. One additional level is the last level subsampled by two.

    Args:
        in_channels: width of the backbone.
        out_channels: width of the levels.
        scales: scales of the levels relative to the map of the backbone, powers of two. The default
            has strides 4 to 32 for patches of 16 px.

    Raises:
        ValueError: for a scale that is not a power of two between 1/8 and 4.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int = 256,
        scales: Sequence[float] = (4, 2, 1, 0.5),
        init_cfg=None,
    ) -> None:
        super().__init__(init_cfg)
        self.levels = nn.ModuleList()
        for scale in scales:
            resize, width = _resize(in_channels, scale)
            self.levels.append(
                nn.Sequential(
                    *resize,
                    _convolution(width, out_channels, 1),
                    _convolution(out_channels, out_channels, 3),
                )
            )

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Maps (B, D, h, w), of which the last is used -> (B, C, s·h, s·w) for each level."""
        levels = [level(maps[-1]) for level in self.levels]
        return (*levels, F.max_pool2d(levels[-1], kernel_size=1, stride=2))


def _resize(width: int, scale: float) -> tuple[list[nn.Module], int]:
    """Layers that change the resolution, and their output width."""
    exponent = math.log2(scale) if scale > 0 else math.nan
    if exponent not in (2, 1, 0, -1, -2, -3):
        raise ValueError(f'scale={scale} is not one of 4, 2, 1, 0.5, 0.25, 0.125.')
    if exponent <= 0:
        factor = round(1 / scale)
        return [nn.MaxPool2d(factor)] if factor > 1 else [], width
    layers = [nn.ConvTranspose2d(width, width // 2, 2, stride=2)]
    if exponent == 2:
        layers += [
            LayerNorm2d(width // 2, eps=1e-6),
            nn.GELU(),
            nn.ConvTranspose2d(width // 2, width // 4, 2, stride=2),
        ]
    return layers, width // 2 ** int(exponent)


def _convolution(in_channels: int, out_channels: int, size: int) -> ConvModule:
    norm = dict(type='mmpretrain.LN2d', eps=1e-6)
    return ConvModule(
        in_channels, out_channels, size, padding=size // 2, norm_cfg=norm, act_cfg=None
    )


@MODELS.register_module(name='AveragePoolPyramid')
def average_pool_pyramid(embed_dim: int, **kwargs) -> nn.Module:
    """``Feature2Pyramid`` of mmseg with an averaged coarse level, as LocalMIM uses it on ADE20K.

    The class of mmseg follows BEiT and MAE and takes the maximum. Needs mmsegmentation.
    """
    from mmseg.models.necks import Feature2Pyramid

    neck = Feature2Pyramid(embed_dim, **kwargs)
    neck.downsample_2x = nn.AvgPool2d(kernel_size=2, stride=2)
    return neck

"""Convolutional decoders of dense maps."""

from collections.abc import Sequence

import torch
from mmcv.cnn import build_norm_layer
from mmengine.model import BaseModule, ModuleList
from mmpretrain.models.backbones.convnext import ConvNeXtBlock
from torch import Tensor, nn

from mmmask.layers import patchify
from mmmask.masking import Mask, hide_positions, restore_tokens, units_to_raster
from mmmask.registry import MODELS

from .token_decoder import require_one_scale


@MODELS.register_module()
class ConvDecoder(BaseModule):
    """Fill hidden positions with mask tokens, and predict a vector per patch by convolutions.

    Without upsampling this is the decoder of FCMAE (Woo et al., ConvNeXt V2, CVPR 2023, section 3):
    a 1×1 convolution, ConvNeXt V2 blocks, and a 1×1 convolution. With upsampling it is the light
    U-Net of SparK (Tian et al., ICLR 2023, section 3.3): each step doubles the resolution and
    halves the width, and the next finer feature map, if there is one, is added.

    Args:
        in_channels: widths of the feature maps, or of a single one; filled in by the algorithm. The
            last is read, and as many of those before it as there are upsampling steps, each twice
            as fine as the next.
        out_channels: length of the predicted vectors; filled in by the algorithm.
        embed_dims: width at the resolution of the patches.
        depth: number of ConvNeXt V2 blocks at the resolution of the patches.
        upsamplings: number of upsampling steps. A position of the result then predicts
            ``out_channels / 4^upsamplings`` values of its place in the patch.
        norm_cfg: norm of the upsampling steps.

    Raises:
        ValueError: if the numbers do not fit, or the target has several scales.
    """

    reads_hidden = False

    def __init__(
        self,
        in_channels: int | Sequence[int],
        out_channels: int,
        embed_dims: int = 512,
        depth: int = 1,
        upsamplings: int = 0,
        norm_cfg: dict | None = None,
        init_cfg=None,
    ) -> None:
        layers = ['Conv2d', 'ConvTranspose2d', 'Linear']
        super().__init__(init_cfg or dict(type='TruncNormal', layer=layers, std=0.02, bias=0.0))
        require_one_scale(self, out_channels)
        _check(out_channels, embed_dims, upsamplings)
        widths = [in_channels] if isinstance(in_channels, int) else list(in_channels)[::-1]
        widths = widths[: upsamplings + 1]
        steps = [embed_dims >> step for step in range(upsamplings + 1)]
        self.mask_tokens = nn.ParameterList(torch.zeros(1, width, 1, 1) for width in widths)
        self.inputs = ModuleList(
            nn.Conv2d(width, step, 3 if index else 1, padding=int(index > 0))
            for index, (width, step) in enumerate(zip(widths, steps, strict=False))
        )
        self.blocks = nn.Sequential(
            *(
                ConvNeXtBlock(embed_dims, layer_scale_init_value=0.0, use_grn=True)
                for _ in range(depth)
            )
        )
        self.upsamplings = ModuleList(
            _upsampling(*pair, norm_cfg or dict(type='BN'))
            for pair in zip(steps, steps[1:], strict=False)
        )
        self.project = nn.Conv2d(steps[-1], out_channels // 4**upsamplings, 1)

    def init_weights(self) -> None:
        """Truncated normal weights and mask tokens, as in both references."""
        super().init_weights()
        for token in self.mask_tokens:
            nn.init.trunc_normal_(token, std=0.02)

    def forward(self, taps: Sequence[Tensor], mask: Mask) -> Tensor:
        """(B, C_k, H_k, W_k) maps or (B, [1+]K, C) tokens, finest first -> (B, N, out_channels).

        Raises:
            ValueError: if a feature map is not twice as fine as the next.
        """
        maps = self.blocks(self.read(taps, 0, mask))
        for level, upsampling in enumerate(self.upsamplings, start=1):
            maps = upsampling(maps)
            if level < len(self.inputs):
                maps = maps + self.read(taps, level, mask)
        return patchify(self.project(maps), 2 ** len(self.upsamplings))

    def read(self, taps: Sequence[Tensor], level: int, mask: Mask) -> Tensor:
        """The feature map of a level, counted from the coarsest, without holes -> (B, D, H, W)."""
        maps = fill_hidden(taps[-1 - level], mask, self.mask_tokens[level])
        size = tuple(length << level for length in mask.grid)
        if maps.shape[2:] != size:
            raise ValueError(
                f'feature map {-1 - level} of the backbone is {tuple(maps.shape[2:])} but the '
                f'decoder needs {size}: out_indices must be consecutive stages up to the last, '
                'each half as fine as the one before.'
            )
        return self.inputs[level](maps)


def fill_hidden(tap: Tensor, mask: Mask, token: Tensor) -> Tensor:
    """A map, or the tokens of the visible patches, and (1, C, 1, 1) -> (B, C, h·s, w·s) map."""
    if tap.dim() == 4:
        return hide_positions(tap, mask, token)
    num_extra = int(tap.shape[1] == mask.ids_keep.shape[1] + 1)
    tokens = restore_tokens(tap[:, num_extra:], mask, token.flatten(1).unsqueeze(1))
    tokens = units_to_raster(tokens, mask.grid)
    side = int((tokens.shape[1] / (mask.grid[0] * mask.grid[1])) ** 0.5)
    return tokens.mT.unflatten(2, (mask.grid[0] * side, mask.grid[1] * side))


def _upsampling(in_channels: int, out_channels: int, norm_cfg: dict) -> nn.Sequential:
    """(B, C, h, w) -> (B, D, 2h, 2w)."""
    return nn.Sequential(
        nn.ConvTranspose2d(in_channels, in_channels, 4, stride=2, padding=1),
        nn.Conv2d(in_channels, in_channels, 3, padding=1, bias=False),
        build_norm_layer(norm_cfg, in_channels)[1],
        nn.ReLU6(inplace=True),
        nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
        build_norm_layer(norm_cfg, out_channels)[1],
    )


def _check(out_channels: int, embed_dims: int, upsamplings: int) -> None:
    for name, value, unit in (
        ('embed_dims', embed_dims, 2**upsamplings),
        ('out_channels', out_channels, 4**upsamplings),
    ):
        if value % unit:
            raise ValueError(
                f'{name}={value} must be a multiple of {unit} for upsamplings={upsamplings}: '
                'choose fewer upsamplings.'
            )

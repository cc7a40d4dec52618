"""Decoders that predict the hidden patches."""

from collections.abc import Sequence
from math import isqrt

import torch
from mmengine.model import BaseModule, ModuleList
from mmpretrain.models.backbones.vision_transformer import TransformerEncoderLayer
from torch import Tensor, nn

from mmmask.layers import (
    AveragePool2x,
    Upsample2x,
    initialize_transformer,
    sincos_position_embedding,
)
from mmmask.masking import Mask, restore_tokens, units_to_raster
from mmmask.models.building import Derived, build
from mmmask.registry import MODELS


@MODELS.register_module()
class TokenDecoder(BaseModule):
    """Transformer on all patches, visible and hidden, that predicts one vector per patch (MAE).

    Args:
        in_channels: width of the encoder's tokens; of several feature maps, the last is read.
        out_channels: length of the predicted vectors.
        embed_dims: width of the decoder, divisible by 4 and by ``num_heads``.
        depth: number of transformer blocks.
        num_heads: attention heads of a block.

    Raises:
        ValueError: if ``embed_dims`` is not divisible, or the target has several scales.
    """

    reads_hidden = False
    reads_maps = False
    scale = 1  # side of the output grid over the side of the patch grid

    def __init__(
        self,
        in_channels: int | Sequence[int],
        out_channels: int,
        embed_dims: int = 512,
        depth: int = 8,
        num_heads: int = 16,
        init_cfg=None,
    ) -> None:
        super().__init__(init_cfg)
        if embed_dims % num_heads or embed_dims % 4:
            raise ValueError(
                f'embed_dims={embed_dims} must be divisible by num_heads={num_heads} and by 4.'
            )
        require_one_scale(self, out_channels)
        in_channels = in_channels if isinstance(in_channels, int) else in_channels[-1]
        self.embed_dims = embed_dims
        self.embed = self._embedding(in_channels)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, embed_dims))
        self.layers = ModuleList(self._block(in_channels, num_heads) for _ in range(depth))
        self.norm = nn.LayerNorm(embed_dims, eps=1e-6)
        self.project = nn.Linear(embed_dims, out_channels)

    def _embedding(self, in_channels: int) -> nn.Module | None:
        """Layer from tokens of the encoder to tokens of the decoder."""
        return nn.Linear(in_channels, self.embed_dims)

    def _block(self, in_channels: int, num_heads: int) -> nn.Module:
        """One of the blocks."""
        norm = dict(type='LN', eps=1e-6)
        return TransformerEncoderLayer(
            self.embed_dims, num_heads, 4 * self.embed_dims, norm_cfg=norm
        )

    def init_weights(self) -> None:
        """Xavier linear layers, mask token N(0, 0.02²), as in the MAE reference."""
        super().init_weights()
        initialize_transformer(self)
        nn.init.normal_(self.mask_token, std=0.02)

    def decode(self, tokens: Tensor, mask: Mask) -> Tensor:
        """([1+]K or K·s² tokens of width C) -> (B, N·s², embed_dims), without the class token."""
        decoded = self.decode_all(tokens, mask)
        return decoded[:, decoded.shape[1] % mask.ids_restore.shape[1] :]

    def decode_all(self, tokens: Tensor, mask: Mask) -> Tensor:
        """([1+]K or K·s² tokens of width C) -> (B, [1+]N·s², embed_dims), class token first.

        A class token is detected by the number of tokens, and takes part in the attention. Tokens
        of an encoder with s × s tokens per patch are ordered by patch. The result is in raster
        order.
        """
        tokens = self.embed(tokens)
        num_extra = int(tokens.shape[1] == mask.ids_keep.shape[1] + 1)
        patches = restore_tokens(tokens[:, num_extra:], mask, self.mask_token)
        patches = units_to_raster(patches, mask.grid)
        tokens = torch.cat([tokens[:, :num_extra], patches], dim=1)
        tokens = tokens + sincos_position_embedding(
            _finer(mask.grid, patches), self.embed_dims, num_extra == 1, tokens.device
        ).to(tokens.dtype)
        for layer in self.layers:
            tokens = layer(tokens)
        return self.norm(tokens)

    def forward(self, taps: Sequence[Tensor], mask: Mask) -> Tensor:
        """Maps (B, [1+]K or K·s², C), of which the last is used -> (B, N·s², out_channels)."""
        return self.project(self.decode(taps[-1], mask))


@MODELS.register_module()
class ScaleDecoder(TokenDecoder):
    """Decoder that predicts on a finer or coarser grid than that of the patches (LocalMIM).

    A LayerNorm of the input, transformer blocks, a deconvolution or pooling, and a linear
    projection (Wang et al., CVPR 2023, Fig. 2). The reference has one block, and one linear layer
    instead of the MLP in the figure. The LayerNorm belongs to the decoder because the encoder
    passes the un-normed tokens on to its next block.

    Args:
        scale: side of the output grid divided by the side of the patch grid: 4, 2, 1 or 0.5.
        **kwargs: as in :class:`TokenDecoder`.
    """

    def __init__(
        self,
        in_channels: int | Sequence[int],
        out_channels: int,
        scale: float = 1,
        embed_dims: int = 256,
        depth: int = 1,
        num_heads: int = 8,
        **kwargs,
    ) -> None:
        super().__init__(in_channels, out_channels, embed_dims, depth, num_heads, **kwargs)
        self.input_norm = nn.LayerNorm(self.embed.in_features, eps=1e-6)
        half, quarter = embed_dims // 2, embed_dims // 4
        rescalings = {
            4: lambda: [
                Upsample2x(embed_dims, half),
                nn.LayerNorm(half, eps=1e-6),
                nn.GELU(),
                Upsample2x(half, quarter),
                nn.Linear(quarter, out_channels),
            ],
            2: lambda: [Upsample2x(embed_dims, half), nn.Linear(half, out_channels)],
            1: lambda: [nn.Linear(embed_dims, out_channels)],
            0.5: lambda: [AveragePool2x(), nn.Linear(embed_dims, out_channels)],
        }
        if scale not in rescalings:
            raise ValueError(f'scale={scale} is not one of {sorted(rescalings)}.')
        self.scale = scale
        self.project = nn.Sequential(*rescalings[scale]())

    def init_weights(self) -> None:
        """As the parent class, but the last projection keeps PyTorch's default, as in LocalMIM."""
        super().init_weights()
        self.project[-1].reset_parameters()

    def forward(self, taps: Sequence[Tensor], mask: Mask) -> Tensor:
        """As the parent class -> (B, N·s²·scale², out_channels)."""
        patches = self.decode(self.input_norm(taps[-1]), mask)
        return self.project(patches.unflatten(1, _finer(mask.grid, patches))).flatten(1, 2)


@MODELS.register_module()
class MultiScaleDecoder(BaseModule):
    """One decoder for each feature map: lower layers predict finer targets (LocalMIM).

    Args:
        decoders: configs of the decoders, in the order of the feature maps (taps).
        in_channels: widths of the feature maps, or of a single one; filled in by the algorithm.
        out_channels: lengths of the predicted vectors, or of those of a single decoder; filled in
            by the algorithm.

    Raises:
        ValueError: if the numbers of feature maps, decoders and scales of the target differ, or a
            decoder states other channels.
    """

    def __init__(
        self,
        decoders: Sequence[dict],
        in_channels: int | Sequence[int] | None = None,
        out_channels: int | Sequence[int] | None = None,
        init_cfg=None,
    ) -> None:
        super().__init__(init_cfg)
        number = len(decoders)
        taps = _one_each(in_channels, number, 'feature maps of backbone.out_indices')
        scales = _one_each(out_channels, number, 'scales of the target generator')
        self.decoders = ModuleList(
            build(
                decoder,
                in_channels=Derived(width, 'the width of its feature map of the backbone'),
                out_channels=Derived(channels, 'the channels of its scale of the target'),
            )
            for decoder, width, channels in zip(decoders, taps, scales, strict=True)
        )

    @property
    def reads_hidden(self) -> bool:
        """Whether the decoders need tokens of hidden patches."""
        return self.decoders[0].reads_hidden

    @property
    def reads_maps(self) -> bool:
        """Whether the decoders accept feature maps of an encoder that hides positions."""
        return all(getattr(decoder, 'reads_maps', True) for decoder in self.decoders)

    def forward(self, taps: Sequence[Tensor], mask: Mask) -> tuple[Tensor, ...]:
        """Feature maps (B, [1+]K or K·s_k², C_k) -> predictions (B, N·s_k²·scale_k², D_k).

        Raises:
            ValueError: if the numbers of feature maps and of decoders differ.
        """
        if len(taps) != len(self.decoders):
            raise ValueError(
                f'{len(self.decoders)} decoders cannot read {len(taps)} feature maps: '
                'backbone.out_indices and neck.decoders must have the same length.'
            )
        return tuple(
            decoder((tap,), mask) for decoder, tap in zip(self.decoders, taps, strict=True)
        )


def require_one_scale(decoder: nn.Module, out_channels: int | Sequence[int]) -> None:
    """Raise ValueError if the target of a decoder has several scales."""
    if not isinstance(out_channels, int):
        raise ValueError(
            f'out_channels={out_channels} are those of several scales, but '
            f'{type(decoder).__name__} predicts one: use a MultiScaleDecoder, or a target '
            'generator with a single size.'
        )


def _one_each(channels: int | Sequence[int] | None, number: int, what: str) -> Sequence[int | None]:
    """Channels of each decoder; None if they are not known."""
    if channels is None:
        return [None] * number
    channels = [channels] if isinstance(channels, int) else channels
    if len(channels) != number:
        raise ValueError(
            f'{number} decoders do not fit {len(channels)} {what}: the numbers must be equal.'
        )
    return channels


def _finer(grid: tuple[int, int], patches: Tensor) -> tuple[int, int]:
    """(h, w) and (B, N·s², D) -> (h·s, w·s)."""
    side = isqrt(patches.shape[1] // (grid[0] * grid[1]))
    return grid[0] * side, grid[1] * side

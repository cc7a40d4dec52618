"""The Swin transformer of mmpretrain, applied to visible tokens only."""

import torch
import torch.nn.functional as F
from mmcv.cnn.bricks.transformer import PatchMerging
from mmpretrain.models.backbones import SwinTransformer
from mmpretrain.models.backbones.swin_transformer import SwinBlock
from mmpretrain.models.utils import ShiftWindowMSA
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmmask.layers import (
    WindowGroups,
    check_windows,
    group_windows,
    initialize_transformer,
)
from mmmask.masking import Mask, gather_tokens, shared_visible
from mmmask.registry import MODELS

from .masked_encoder import MaskedEncoder
from .options import check_image_size, check_out_indices, find_depth, make_drop_rates_plain

COORDINATES = ('true', 'scrambled')


@MODELS.register_module()
class MaskedSwinTransformer(MaskedEncoder, SwinTransformer):
    """mmpretrain's ``SwinTransformer`` that accepts a mask (Wang et al., LocalMIM, CVPR 2023).

    A mask hides units: squares of pixels that become one token of the last stage (32 px for four
    stages and patches of 4 px), the same ones in all images. The encoder sees the tokens of visible
    units only. There are no mask tokens, and attention runs in groups of windows (Huang et al.,
    GreenMIM, NeurIPS 2022), which equals window attention without the hidden tokens. State-dict
    names and modules are those of mmpretrain, so the encoder loads unchanged into mmpretrain, mmdet
    and mmseg.

    Args:
        arch, img_size, patch_size: as in ``mmpretrain.SwinTransformer``. Images may have another
            size than ``img_size`` if the windows tile the map of every stage.
        coordinates: ``'true'``, or ``'scrambled'`` as in the released LocalMIM models: after the
            first patch merging, the unit-major index of a token is used as its raster index. In
            most blocks, windows and relative positions then differ from the true ones, which the
            same weights use without a mask.
        **kwargs: other arguments of ``mmpretrain.SwinTransformer``.

    Attributes:
        patch_size: pixels along the side of a mask unit.

    Raises:
        ValueError: for unknown coordinates, options that do not work with a mask, or an invalid
            architecture, image size or ``out_indices``.
    """

    def __init__(
        self,
        arch='base',
        img_size=224,
        patch_size=4,
        drop_path_rate=0.0,
        coordinates='true',
        **kwargs,
    ) -> None:
        if coordinates not in COORDINATES:
            raise ValueError(f'coordinates={coordinates!r} is not one of {COORDINATES}.')
        if kwargs.get('use_abs_pos_embed') or kwargs.get('pad_small_map'):
            raise ValueError(
                'use_abs_pos_embed and pad_small_map do not work with a mask: leave them out.'
            )
        check_out_indices(kwargs.get('out_indices', -1), find_depth(arch, self.arch_zoo))
        super().__init__(
            arch=arch,
            img_size=img_size,
            patch_size=patch_size,
            drop_path_rate=drop_path_rate,
            **kwargs,
        )
        make_drop_rates_plain(self)
        self.coordinates = coordinates
        # Tokens along the side of a unit at the start of each stage: 8, 4, 2, 1.
        self.unit_sides = [2**stage for stage in reversed(range(self.num_layers))]
        self.patch_size = patch_size * self.unit_sides[0]  # of a mask unit
        check_image_size(img_size, self.patch_size)

    def init_weights(self) -> None:
        """Initialise as in the LocalMIM reference, unless ``init_cfg`` names a checkpoint."""
        super().init_weights()
        if isinstance(self.init_cfg, dict) and self.init_cfg['type'] == 'Pretrained':
            return
        initialize_transformer(self)
        projection = self.patch_embed.projection.weight
        nn.init.xavier_uniform_(projection.view(projection.shape[0], -1))

    @property
    def widths(self) -> list[int]:
        """Channels of each stage."""
        return self.num_features

    @property
    def strides(self) -> tuple[int, ...]:
        """Pixels along the side of a token, for each returned feature map."""
        first, last = int(self.out_after_downsample), self.num_layers - 1
        finest = self.patch_size // self.unit_sides[0]
        return tuple(finest * 2 ** min(i + first, last) for i in sorted(self.out_indices))

    def check_grid(self, grid: tuple[int, int]) -> None:
        """Raise ValueError unless the windows tile the map of every stage on a grid of units."""
        for stage, side in zip(self.stages, self.unit_sides, strict=True):
            check_windows(grid, side, stage.blocks[0].attn.window_size)

    def forward(self, images: Tensor, mask: Mask | None = None) -> tuple[Tensor, ...]:
        """(B, C, H, W) -> one (B, K·s², C_k) tensor per tap, s × s tokens of each visible unit.

        Tokens are ordered by unit. Without a mask the result is that of the parent class, maps of
        (B, C_k, H_k, W_k).

        Raises:
            ValueError: if the images have different masks, or the windows do not tile a map.
        """
        if mask is None:
            return super().forward(images)
        groups = self.arrange(mask, self.grid(images), images.device)
        tokens = self.embed(images, mask)
        taps = []
        for index, stage in enumerate(self.stages):
            for block, arranged in zip(stage.blocks, groups[index], strict=True):
                tokens = self.run_block(block, tokens, arranged)
            tap = tokens
            if stage.downsample is not None:
                tokens = merge_patches(stage.downsample, tokens, self.unit_sides[index])
                tap = tokens if self.out_after_downsample else tap
            if index in self.out_indices:
                taps.append(getattr(self, f'norm{index}')(tap))
        return tuple(taps)

    @staticmethod
    def run_block(block: SwinBlock, tokens: Tensor, groups: WindowGroups) -> Tensor:
        """(B, T, C) -> (B, T, C): a block on visible tokens; compilation replaces this function."""
        return run_block(block, tokens, groups)

    @torch.compiler.disable
    def arrange(
        self, mask: Mask, grid: tuple[int, int], device: torch.device
    ) -> list[list[WindowGroups]]:
        """Mask on (h, w) units -> the groups of windows of each block of each stage.

        The mask determines their shapes, so they are computed on the host, outside of a compiled
        graph. Blocks of a stage with the same windows share their groups.

        Raises:
            ValueError: as :meth:`forward`.
        """
        units, arranged = shared_visible(mask), []
        for index, (stage, side) in enumerate(zip(self.stages, self.unit_sides, strict=True)):
            scrambled = self.coordinates == 'scrambled' and index > 0
            groups = {}
            windows = []
            for block in stage.blocks:
                window, shift = block.attn.window_size, block.attn.shift_size
                shift = 0 if min(grid) * side <= window else shift
                if (window, shift) not in groups:
                    groups[window, shift] = group_windows(
                        units, grid, side, window, shift, scrambled, device
                    )
                windows.append(groups[window, shift])
            arranged.append(windows)
        return arranged

    def embed(self, images: Tensor, mask: Mask) -> Tensor:
        """(B, C, H, W) -> (B, K·s², D) tokens of the visible units, each embedded separately."""
        size = self.patch_size
        units = images.unflatten(3, (-1, size)).unflatten(2, (-1, size))
        units = units.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2).flatten(2)
        units = gather_tokens(units, mask.ids_keep)
        tokens, _ = self.patch_embed(units.reshape(-1, images.shape[1], size, size))
        return self.drop_after_pos(tokens.reshape(len(images), -1, self.embed_dims))


def run_block(block: SwinBlock, tokens: Tensor, groups: WindowGroups) -> Tensor:
    """(B, T, C) -> (B, T, C): the forward pass of a block on visible tokens."""

    def forward(tokens: Tensor) -> Tensor:
        tokens = tokens + window_attention(block.attn, block.norm1(tokens), groups)
        return block.ffn(block.norm2(tokens), identity=tokens)

    if block.with_cp and tokens.requires_grad:
        return checkpoint(forward, tokens, use_reentrant=False)
    return forward(tokens)


def window_attention(attention: ShiftWindowMSA, tokens: Tensor, groups: WindowGroups) -> Tensor:
    """(B, T, C) -> (B, T, C): (shifted) window attention among visible tokens."""
    layer = attention.w_msa
    num_images, num_tokens, width = tokens.shape
    num_groups, length, _ = groups.blocked.shape
    heads = layer.num_heads
    # Groups are treated as heads, so that the bias has the same shape for all images.
    inputs = layer.qkv(tokens).view(num_images, num_tokens, 3, heads, -1).permute(2, 0, 3, 1, 4)
    inputs = inputs.index_select(3, groups.members)
    query, key, value = inputs.view(3, num_images, heads * num_groups, length, -1)

    bias = F.embedding(groups.offsets, layer.relative_position_bias_table)
    bias = bias.masked_fill(groups.blocked.unsqueeze(3), float('-inf'))
    bias = bias.permute(3, 0, 1, 2).flatten(0, 1).unsqueeze(0).to(query.dtype)

    outputs = F.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=bias,
        dropout_p=layer.attn_drop.p if layer.training else 0.0,
        scale=layer.scale,
    )
    outputs = outputs.reshape(num_images, heads, num_groups * length, -1)
    outputs = outputs.index_select(2, groups.places).transpose(1, 2).flatten(2)
    return attention.drop(layer.proj_drop(layer.proj(outputs)))


def merge_patches(merging: PatchMerging, tokens: Tensor, side: int) -> Tensor:
    """(B, K·s², C) -> (B, K·(s/2)², 2C): merges 2 × 2 neighbours, which are always in one unit."""
    half = side // 2
    quads = tokens.unflatten(1, (-1, half, 2, half, 2))
    # nn.Unfold in mmcv's PatchMerging has channels first and the 2 × 2 places last.
    quads = quads.permute(0, 1, 2, 4, 6, 3, 5).flatten(4).flatten(1, 3)
    return merging.reduction(merging.norm(quads))

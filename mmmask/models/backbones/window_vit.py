"""The windowed vision transformer of mmpretrain, for detection."""

import torch
import torch.nn.functional as F
from mmpretrain.models.backbones import ViTSAM
from mmpretrain.models.backbones.vit_sam import (
    Attention,
    TransformerEncoderLayer,
    get_rel_pos,
    window_partition,
    window_unpartition,
)
from mmpretrain.models.utils import resize_pos_embed
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from mmmask.layers import initialize_transformer
from mmmask.registry import MODELS


@MODELS.register_module()
class WindowVisionTransformer(ViTSAM):
    """The plain vision transformer of ViTDet (Li et al., ECCV 2022): windows and few global blocks.

    This is ``ViTSAM`` of mmpretrain with two differences: stochastic depth acts on both branches of
    a block, as in the reference, and attention never stores an N × N matrix. There is no class
    token and no norm after the last block. The other state-dict names are those of
    ``VisionTransformer``, so a pre-trained encoder loads. Decomposed relative positions start at
    zero; with global attention in every block, the network would return the features of that
    encoder.

    Args:
        arch: as in ``mmpretrain.ViTSAM``; a dict must also have ``global_attn_indexes``.
        img_size: side of the training images, to which the position table is interpolated once.
        with_cp: recompute blocks in the backward pass to save memory.
        **kwargs: other arguments of ``mmpretrain.ViTSAM``.
    """

    def __init__(self, arch='base', img_size=1024, with_cp: bool = False, **kwargs) -> None:
        super().__init__(arch=arch, img_size=img_size, out_channels=0, **kwargs)
        self.with_cp = with_cp

    def init_weights(self) -> None:
        """Initialise as in pre-training, unless ``init_cfg`` names a checkpoint."""
        super().init_weights()
        if not (isinstance(self.init_cfg, dict) and self.init_cfg['type'] == 'Pretrained'):
            initialize_transformer(self)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, C, H, W) -> one (B, D, h, w) map per tap."""
        tokens, grid = self.patch_embed(images)
        if self.use_abs_pos:
            table = self.pos_embed.flatten(1, 2)
            tokens = tokens + resize_pos_embed(
                table, self.patch_resolution, grid, self.interpolate_mode, num_extra_tokens=0
            )
            tokens = self.drop_after_pos(tokens)
        tokens = tokens.unflatten(1, grid)
        maps = []
        for index, layer in enumerate(self.layers):
            if self.with_cp and torch.is_grad_enabled():
                tokens = checkpoint(run_block, layer, tokens, use_reentrant=False)
            else:
                tokens = run_block(layer, tokens)
            if index in self.out_indices:
                maps.append(tokens.permute(0, 3, 1, 2).contiguous())
        return tuple(maps)


def run_block(layer: TransformerEncoderLayer, tokens: Tensor) -> Tensor:
    """(B, h, w, D) -> (B, h, w, D)."""
    branch = layer.ln1(tokens)
    if layer.window_size:
        windows, padded = window_partition(branch, layer.window_size)
        windows = relative_attention(layer.attn, windows)
        branch = window_unpartition(windows, layer.window_size, padded, tokens.shape[1:3])
    else:
        branch = relative_attention(layer.attn, branch)
    # The parent class applies stochastic depth to the other branch only; its layer has no state.
    tokens = tokens + layer.ffn.dropout_layer(branch)
    return layer.ffn(layer.ln2(tokens), identity=tokens)


def relative_attention(attention: Attention, tokens: Tensor) -> Tensor:
    """(B, h, w, D) -> (B, h, w, D): attention with decomposed relative positions.

    Positions add two numbers to a score, one for the row and one for the column of the key. Both
    depend on the query. They become part of the dot product as h + w more channels of the query,
    with one-hot rows and columns as channels of the key. Therefore a fused kernel can be used.
    """
    num_images, height, width, _ = tokens.shape
    inputs = attention.qkv(tokens).view(num_images, height * width, 3, attention.num_heads, -1)
    query, key, value = inputs.permute(2, 0, 3, 1, 4).unbind(0)
    scaled = query * attention.scale
    if attention.use_rel_pos:
        rows, columns = (
            get_rel_pos(side, side, table)
            for side, table in ((height, attention.rel_pos_h), (width, attention.rel_pos_w))
        )
        queries = query.unflatten(2, (height, width))
        by_row = torch.einsum('bnhwc,hkc->bnhwk', queries, rows.to(query.dtype))
        by_column = torch.einsum('bnhwc,wkc->bnhwk', queries, columns.to(query.dtype))
        position = torch.cat([by_row, by_column], dim=-1).flatten(2, 3)
        places = torch.cat(
            [
                torch.eye(height, dtype=key.dtype, device=key.device).repeat_interleave(width, 0),
                torch.eye(width, dtype=key.dtype, device=key.device).repeat(height, 1),
            ],
            dim=1,
        )
        scaled = torch.cat([scaled, position], dim=-1)
        key = torch.cat([key, places.expand(*key.shape[:2], -1, -1)], dim=-1)
        spare = -scaled.shape[-1] % 8  # fused kernels need multiples of 8 in half precision
        scaled, key = F.pad(scaled, (0, spare)), F.pad(key, (0, spare))
    outputs = F.scaled_dot_product_attention(scaled, key, value, scale=1.0)
    return attention.proj(outputs.transpose(1, 2).flatten(2).unflatten(1, (height, width)))

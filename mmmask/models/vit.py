"""The forward pass of mmpretrain's vision transformer in pieces, with and without a mask.

``embed`` computes the tokens before the first block and ``walk`` those after each block.
``attention_probabilities`` computes what the fused attention kernel does not return.
"""

from collections.abc import Iterator

import torch
from mmpretrain.models.backbones import VisionTransformer
from mmpretrain.models.utils import resize_pos_embed
from torch import Tensor, nn

from mmmask.masking import Mask, gather_tokens


def position_table(encoder: VisionTransformer, grid: tuple[int, int]) -> Tensor:
    """(h, w) -> (1, [1+]N, D) position embedding, interpolated to this grid."""
    return resize_pos_embed(
        encoder.pos_embed,
        encoder.patch_resolution,
        grid,
        mode=encoder.interpolate_mode,
        num_extra_tokens=encoder.num_extra_tokens,
    )


def embed(
    encoder: VisionTransformer,
    images: Tensor,
    mask: Mask | None = None,
    position: Tensor | None = None,
    patch_embed: nn.Module | None = None,
) -> tuple[Tensor, tuple[int, int]]:
    """(B, C, H, W) -> (B, [1+]K, D) tokens before the first block, class token first, and (h, w).

    Args:
        encoder: a vision transformer of mmpretrain or mmmask.
        images: (B, C, H, W).
        mask: which patches the encoder sees; all N without one.
        position: (B or 1, [1+]N, D) added instead of the encoder's table.
        patch_embed: layer that embeds the patches instead of the encoder's own.
    """
    patches, grid = (patch_embed or encoder.patch_embed)(images)
    position = position_table(encoder, grid) if position is None else position
    num_extra = encoder.num_extra_tokens
    tokens = patches + position[:, num_extra:]
    if mask is not None:
        tokens = gather_tokens(tokens, mask.ids_keep)
    if encoder.cls_token is not None:
        class_token = (encoder.cls_token + position[:, :num_extra]).expand(len(images), -1, -1)
        tokens = torch.cat([class_token, tokens], dim=1)
    return encoder.pre_norm(encoder.drop_after_pos(tokens)), grid


def walk(encoder: VisionTransformer, tokens: Tensor) -> Iterator[Tensor]:
    """(B, T, D) embedded tokens -> the tokens after each block, before the final norm."""
    for layer in encoder.layers:
        tokens = layer(tokens)
        yield tokens


def attention_probabilities(attention: nn.Module, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """(B, T, D) normed tokens -> (B, heads, T, T) probabilities in fp32, (B, heads, T, d) values.

    The first half of mmpretrain's ``MultiheadAttention``, whose fused kernel does not return its
    probabilities.
    """
    qkv = attention.qkv(tokens).unflatten(2, (3, attention.num_heads, attention.head_dims))
    query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind()
    with torch.autocast(tokens.device.type, enabled=False):
        logits = (query.float() * attention.head_dims**-0.5) @ key.float().mT
        return logits.softmax(dim=-1), value


def run_with_attention(layer: nn.Module, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """(B, T, D) -> the output of an encoder layer, and its (B, heads, T, T) attention."""
    attention = layer.attn
    probabilities, value = attention_probabilities(attention, layer.ln1(tokens))
    mixed = (probabilities.to(value.dtype) @ value).transpose(1, 2).flatten(2)
    mixed = attention.proj_drop(attention.proj(mixed))
    tokens = tokens + attention.out_drop(attention.gamma1(mixed))
    return layer.ffn(layer.ln2(tokens), identity=tokens), probabilities

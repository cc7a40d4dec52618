"""A decoder that reads the visible tokens by cross-attention."""

from collections.abc import Sequence

import torch
from mmpretrain.models.backbones.vision_transformer import TransformerEncoderLayer
from torch import Tensor, nn

from mmmask.layers import sincos_position_embedding
from mmmask.masking import Mask, gather_tokens, scatter_tokens
from mmmask.registry import MODELS

from .token_decoder import TokenDecoder


@MODELS.register_module()
class CrossAttentionDecoder(TokenDecoder):
    """Each predicted patch reads the visible tokens, and no other predicted patch (CrossMAE).

    The queries are the mask token with the positions of the patches to predict. Every block has
    cross-attention and an MLP, but no self-attention (Fu et al., 2401.14391, section 3). With
    several feature maps of the encoder, every block reads a weighted sum of its own ("inter-block
    attention"). As in the reference, a LayerNorm of each block follows this sum, keys and values
    are computed from the full width of the encoder, and the weights begin Xavier-uniform.

    Args:
        in_channels: width of the encoder's feature maps.
        out_channels: length of the predicted vectors.
        depth: number of blocks.
        tokens_have_positions: whether the encoder adds positions to its tokens; filled in by the
            algorithm.
        **kwargs: as in :class:`TokenDecoder`.

    Raises:
        ValueError: for feature maps of different widths, or without positions.
    """

    def __init__(
        self,
        in_channels: int | Sequence[int],
        out_channels: int,
        depth: int = 12,
        tokens_have_positions: bool = True,
        **kwargs,
    ) -> None:
        super().__init__(in_channels, out_channels, depth=depth, **kwargs)
        widths = [in_channels] if isinstance(in_channels, int) else list(in_channels)
        if not tokens_have_positions:
            raise ValueError(
                'CrossAttentionDecoder finds patches by the positions in the tokens of the '
                'encoder, but this encoder adds none: use a ViT, or a TokenDecoder.'
            )
        if len({*widths}) > 1:
            raise ValueError(
                f'in_channels={widths} must be equal, because CrossAttentionDecoder adds up the '
                'feature maps: set backbone.out_indices to layers of one width.'
            )
        self.mix = nn.Linear(len(widths), depth, bias=False) if len(widths) > 1 else None

    def _embedding(self, in_channels: int) -> None:
        """None, because keys and values are computed from the tokens of the encoder."""

    def _block(self, in_channels: int, num_heads: int) -> nn.Module:
        return CrossAttentionLayer(in_channels, self.embed_dims, num_heads)

    def forward(self, taps: Sequence[Tensor], mask: Mask) -> Tensor:
        """Feature maps (B, T, C) -> (B, N, out_channels), zero where nothing is predicted."""
        if mask.blocks.shape[1] > 1:  # they may overlap: predict each hidden patch once instead
            mask = mask._replace(ids_predict=None)
        ids = mask.blocks.squeeze(1)
        positions = sincos_position_embedding(mask.grid, self.embed_dims, device=ids.device)
        queries = gather_tokens(positions, ids).to(taps[-1].dtype) + self.mask_token
        for layer, tokens in zip(self.layers, self.mix_taps(taps), strict=True):
            queries = layer(queries, tokens)
        vectors = self.project(self.norm(queries))
        return scatter_tokens(vectors, ids, mask.hidden.shape[1])

    def mix_taps(self, taps: Sequence[Tensor]) -> Sequence[Tensor]:
        """Feature maps (B, T, C) -> one weighted sum of them, (B, T, C), for each block."""
        if self.mix is None:
            return [taps[-1]] * len(self.layers)
        sums = self.mix.weight @ torch.stack(tuple(taps)).flatten(1)
        return sums.view(-1, *taps[0].shape).unbind()


class CrossAttentionLayer(TransformerEncoderLayer):
    """A pre-norm block whose queries read other tokens."""

    def __init__(self, in_channels: int, embed_dims: int, num_heads: int) -> None:
        norm = dict(type='LN', eps=1e-6)
        super().__init__(embed_dims, num_heads, 4 * embed_dims, norm_cfg=norm)
        self.attn = nn.MultiheadAttention(
            embed_dims, num_heads, kdim=in_channels, vdim=in_channels, batch_first=True
        )
        self.input_norm = nn.LayerNorm(in_channels, eps=1e-6)

    def forward(self, queries: Tensor, tokens: Tensor) -> Tensor:
        """(B, P, D) queries and (B, T, C) tokens -> (B, P, D)."""
        tokens = self.input_norm(tokens)
        read = self.attn(self.ln1(queries), tokens, tokens, need_weights=False)[0]
        queries = queries + read
        return self.ffn(self.ln2(queries), identity=queries)

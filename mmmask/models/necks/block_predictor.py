"""The predictor of I-JEPA."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mmmask.layers import sincos_position_embedding
from mmmask.masking import Mask, gather_tokens
from mmmask.registry import MODELS

from .token_decoder import TokenDecoder


@MODELS.register_module()
class BlockPredictor(TokenDecoder):
    """Transformer that predicts each target block from the visible tokens (I-JEPA, CVPR 2023).

    A pass reads the visible tokens and one mask token for each patch of one block. The blocks of an
    image are predicted independently, as different rows of a batch. Without blocks in the mask, all
    hidden patches are one block.

    Its arguments are those of :class:`TokenDecoder`; the paper's ViT-B has ``embed_dims=384``,
    ``depth=6`` and ``num_heads=12``.
    """

    predicts_blocks = True

    def forward(self, taps: Sequence[Tensor], mask: Mask) -> Tensor:
        """Maps (B, [1+]K, C), of which the last is used -> (B, M·P, out_channels), by block.

        Raises:
            ValueError: if the encoder has several tokens for a patch.
        """
        num_images, num_blocks, length = mask.blocks.shape
        position = sincos_position_embedding(mask.grid, self.embed_dims, device=taps[-1].device)
        tokens = self.embed(taps[-1])
        position = position.to(tokens.dtype)
        num_extra = tokens.shape[1] - mask.ids_keep.shape[1]
        if num_extra > 1:
            raise ValueError(
                f'BlockPredictor reads one token of each visible patch, but there are '
                f'{tokens.shape[1]} of {mask.ids_keep.shape[1]} patches: let out_indices of the '
                'backbone end with its last stage.'
            )
        visible = tokens[:, num_extra:] + gather_tokens(position, mask.ids_keep)
        context = torch.cat([tokens[:, :num_extra], visible], dim=1)
        queries = self.mask_token + gather_tokens(position, mask.blocks.flatten(1))
        queries = queries.reshape(num_images * num_blocks, length, -1).to(tokens.dtype)
        tokens = torch.cat([context.repeat_interleave(num_blocks, 0), queries], dim=1)
        for layer in self.layers:
            tokens = layer(tokens)
        prediction = self.project(self.norm(tokens[:, -length:]))
        return prediction.reshape(num_images, num_blocks * length, -1)

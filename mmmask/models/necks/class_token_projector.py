"""A projector with attention to all tokens."""

from mmengine.model import ModuleList
from mmpretrain.models.backbones.vision_transformer import TransformerEncoderLayer
from mmpretrain.models.necks import NonLinearNeck
from torch import Tensor

from mmmask.layers import initialize_transformer
from mmmask.registry import MODELS


@MODELS.register_module()
class ClassTokenProjector(NonLinearNeck):
    """Transformer blocks on all tokens, then ``NonLinearNeck`` of mmpretrain on the class token.

    This is the contrastive head after the decoder of SDMAE (Mao et al., arXiv 2212.05677).

    Args:
        in_channels: width of the tokens.
        depth: number of blocks.
        num_heads: attention heads of a block.
        **kwargs: other arguments of ``NonLinearNeck``.
    """

    def __init__(self, in_channels: int, depth: int = 2, num_heads: int = 12, **kwargs) -> None:
        super().__init__(in_channels=in_channels, with_avg_pool=False, **kwargs)
        self.blocks = ModuleList(
            TransformerEncoderLayer(
                in_channels, num_heads, 4 * in_channels, norm_cfg=dict(type='LN', eps=1e-6)
            )
            for _ in range(depth)
        )

    def init_weights(self) -> None:
        """Initialise the linear layers of the blocks by Xavier's method."""
        super().init_weights()
        initialize_transformer(self.blocks)

    def forward(self, tokens: tuple[Tensor]) -> tuple[Tensor]:
        """One (B, 1+N, C) tensor, class token first -> one (B, D)."""
        (tokens,) = tokens
        for block in self.blocks:
            tokens = block(tokens)
        return super().forward((tokens[:, 0],))

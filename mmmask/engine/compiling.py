"""Compilation of the blocks of transformers."""

import torch
from mmpretrain.models.backbones.swin_transformer import SwinBlock
from mmpretrain.models.backbones.vision_transformer import TransformerEncoderLayer
from torch import _dynamo, nn

from mmmask.models import MaskedSwinTransformer


def compile_blocks(model: nn.Module, **options) -> int:
    """Compile every transformer block of encoders, decoders and momentum copies, in place.

    Equal blocks share one compiled graph, so the time of compilation does not grow with the depth
    of a network. Names in the state dict do not change. The rest of a step remains eager, and so do
    the layers whose attention a parser reads, because they are not called as modules. Masks change
    the shapes in a masked Swin, so its blocks are compiled again, with symbolic sizes, for the
    second mask.

    Args:
        model: model to change.
        **options: arguments of :func:`torch.compile`.

    Returns:
        Number of blocks that were compiled.
    """
    blocks = transformer_blocks(model)
    # All blocks share the code of nn.Module, for which the compiler keeps 8 graphs by default.
    # Stages of several widths need more, and blocks beyond the limit would remain eager.
    config = _dynamo.config
    config.cache_size_limit = max(config.cache_size_limit, 2 * len(blocks))
    for block in blocks:
        block.compile(**options)
    for module in model.modules():
        if isinstance(module, MaskedSwinTransformer):
            module.run_block = torch.compile(module.run_block, **options)
    return len(blocks)


def transformer_blocks(model: nn.Module) -> list[nn.Module]:
    """The transformer blocks of encoders, decoders and momentum copies."""
    return [m for m in model.modules() if isinstance(m, TransformerEncoderLayer | SwinBlock)]

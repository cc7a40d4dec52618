"""Pieces that two or more rooms share. PyTorch only."""

from .initialize import initialize_transformer
from .patches import patchify, unpatchify
from .position import sincos_position_embedding

__all__ = ['initialize_transformer', 'patchify', 'sincos_position_embedding', 'unpatchify']

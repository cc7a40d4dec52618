"""Layers and functions that several packages share. PyTorch only."""

from .distributed import gather_rows, gathered
from .initialize import initialize_transformer
from .momentum import MomentumCopy, StillCopy
from .patches import patch_grid, patchify, unpatchify
from .position import sincos_position_embedding
from .rescale import AveragePool2x, Upsample2x
from .window_groups import WindowGroups, check_windows, group_windows

__all__ = [
    'AveragePool2x',
    'MomentumCopy',
    'StillCopy',
    'Upsample2x',
    'WindowGroups',
    'check_windows',
    'gather_rows',
    'gathered',
    'group_windows',
    'initialize_transformer',
    'patch_grid',
    'patchify',
    'sincos_position_embedding',
    'unpatchify',
]

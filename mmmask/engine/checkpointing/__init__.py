"""Checkpoint files: opened without executing them, renamed between layouts, loaded by part."""

from .architecture import Architecture, read_architecture
from .backbone import load_backbone
from .files import CheckpointError, find_tensors, open_checkpoint, write_checkpoint
from .layouts import LAYOUTS
from .renaming import Renaming, rename

__all__ = [
    'LAYOUTS',
    'Architecture',
    'CheckpointError',
    'Renaming',
    'find_tensors',
    'load_backbone',
    'open_checkpoint',
    'read_architecture',
    'rename',
    'write_checkpoint',
]

"""Checkpoint files: opened without executing them, renamed between layouts, loaded by part."""

from .backbone import load_backbone
from .files import CheckpointError, find_tensors, open_checkpoint, write_checkpoint
from .layouts import LAYOUTS, Layout, Renaming, Rule, rename

__all__ = [
    'LAYOUTS',
    'CheckpointError',
    'Layout',
    'Renaming',
    'Rule',
    'find_tensors',
    'load_backbone',
    'open_checkpoint',
    'rename',
    'write_checkpoint',
]

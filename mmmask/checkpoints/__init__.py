"""Checkpoint files: opened without executing them, renamed between layouts, loaded by part."""

from mmmask import upstream  # noqa: F401

from .backbone import load_backbone
from .files import (
    UNFINISHED,
    CheckpointError,
    checksum_of,
    find_tensors,
    open_checkpoint,
    why_not_intact,
    write_checkpoint,
    write_file,
    write_with_checksum,
)
from .hub import find_pretrained
from .layouts import LAYOUTS
from .loading import read_checkpoints_as_data, take_whole
from .renaming import Renaming, rename

__all__ = [
    'LAYOUTS',
    'UNFINISHED',
    'CheckpointError',
    'Renaming',
    'checksum_of',
    'find_pretrained',
    'find_tensors',
    'load_backbone',
    'open_checkpoint',
    'read_checkpoints_as_data',
    'rename',
    'take_whole',
    'why_not_intact',
    'write_checkpoint',
    'write_file',
    'write_with_checksum',
]

"""Checkpoint files: opened without executing them, renamed between layouts, loaded by part."""

from .architecture import (
    Architecture,
    SwinArchitecture,
    describe_backbone,
    read_architecture,
    read_swin_architecture,
)
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
from .layouts import LAYOUTS
from .loading import load_from_file
from .renaming import Renaming, rename

__all__ = [
    'LAYOUTS',
    'UNFINISHED',
    'Architecture',
    'CheckpointError',
    'Renaming',
    'SwinArchitecture',
    'describe_backbone',
    'checksum_of',
    'find_tensors',
    'load_backbone',
    'load_from_file',
    'open_checkpoint',
    'read_architecture',
    'read_swin_architecture',
    'rename',
    'why_not_intact',
    'write_checkpoint',
    'write_file',
    'write_with_checksum',
]

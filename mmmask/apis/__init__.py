"""What the command lines in ``tools/`` call."""

from .convert import convert_checkpoint
from .export import export_backbone

__all__ = ['convert_checkpoint', 'export_backbone']

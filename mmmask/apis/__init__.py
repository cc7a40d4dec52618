"""What the command lines in ``tools/`` call."""

from mmmask.checkpoints.convert import convert_checkpoint
from mmmask.checkpoints.exporting import export_backbone

from .validate import ConfigError, validate_config

__all__ = ['ConfigError', 'convert_checkpoint', 'export_backbone', 'validate_config']

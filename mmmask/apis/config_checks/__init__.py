"""What can be wrong with a config, apart from what constructors refuse.

A check takes a :class:`~mmmask.apis.config_checks.rules.Plan` and yields one line per error: the
dotted key as on the command line, its value, and the remedy. It skips what it cannot read, since
another check reports that. Rules on the arguments of one class belong into its constructor.
"""

from . import crops, images, keys, run, training
from .images import image_sizes
from .rules import Plan

__all__ = ['CHECKS', 'Plan', 'image_sizes']
CHECKS = tuple(check for module in (keys, run, images, training, crops) for check in module.CHECKS)

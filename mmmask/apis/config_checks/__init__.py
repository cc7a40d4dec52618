"""What can be wrong with a config, apart from what constructors refuse.

A check takes a :class:`~mmmask.apis.config_checks.rules.Plan` and yields one line per error: the
dotted key as on the command line, its value, and the remedy. It skips what it cannot read, since
another check reports that. Rules on the arguments of one class belong in its constructor.

Where components must fit each other and neither can be derived, a component of any class takes part
by what it reports: ``strides`` of a backbone, ``sizes`` of a target generator, ``scale`` of a
decoder, ``min_views`` and ``trains_class_token`` of a model, ``evidence_kind`` of a mask generator,
``needs_progress`` of a module with ``set_progress``, and ``check_grid(grid)`` of any of them.
"""

from . import crops, images, keys, run, training
from .images import first_image_size, image_sizes

__all__ = ['CHECKS', 'first_image_size', 'image_sizes']
CHECKS = tuple(check for module in (keys, run, images, training, crops) for check in module.CHECKS)

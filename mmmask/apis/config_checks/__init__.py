"""What can be wrong with a config.

A check takes the config and its nodes (:func:`mmmask.apis.config_nodes.find_nodes`) and yields one
line per error: dotted key as on the command line, value, and the remedy. It passes over what it
cannot read, since another check tells of that. What the parts of a method must agree on has a file
of its own, whose ``CHECKS`` are added here.
"""

from . import contrast, crops, encoder, keys, maskdeep, masked, run
from .encoder import image_sizes

__all__ = ['CHECKS', 'image_sizes']
CHECKS = tuple(
    check
    for room in (keys, run, encoder, masked, contrast, crops, maskdeep)
    for check in room.CHECKS
)

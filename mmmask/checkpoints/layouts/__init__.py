"""How other projects name the tensors that mmmask has too: one table per layout, read both ways.

A row of a table is a :class:`Rule`. To add a layout, write its rows and enter it in the ``LAYOUTS``
of its encoder; conversion in both directions, the accounting of every key and the error messages
follow.
"""

from . import resnet, swin, vit
from .rules import Fixed, Layout, Rule

__all__ = ['LAYOUTS', 'Fixed', 'Layout', 'Rule']
LAYOUTS = vit.LAYOUTS | swin.LAYOUTS | resnet.LAYOUTS

"""How other projects name the tensors that mmmask has too: one table per layout, read both ways.

A row of a table is a :class:`Rule`. To add a layout, write its rows and enter it in the ``LAYOUTS``
of its encoder; conversion in both directions, the accounting of every key and the error messages
follow.
"""

from . import beit, convnext, resnet, swin, vit
from .rules import Fixed, Layout, Rule

__all__ = ['KINDS', 'LAYOUTS', 'WHOLE_MODELS', 'Fixed', 'Layout', 'Rule']
KINDS = {
    'vision transformer': vit.LAYOUTS,
    'BEiT': beit.LAYOUTS,
    'Swin transformer': swin.LAYOUTS,
    'ResNet': resnet.LAYOUTS,
    'ConvNeXt': convnext.LAYOUTS,
}
LAYOUTS = {name: layout for layouts in KINDS.values() for name, layout in layouts.items()}
# The layouts that have more than an encoder, so that files of them can be written.
WHOLE_MODELS = [name for name, layout in LAYOUTS.items() if 'neck' in layout.sections]

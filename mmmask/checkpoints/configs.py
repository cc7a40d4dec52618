"""The backbone in the config that a checkpoint carries."""

from collections.abc import Mapping

from mmmask.config_text import UNREADABLE, Expression, flatten, read_config

from .files import CheckpointError


def read_backbone_config(meta: Mapping) -> dict:
    """``model.backbone`` of the config in a checkpoint's meta; empty without a config.

    Raises:
        CheckpointError: if the text does not name ``model.backbone`` as plain data.
    """
    values = read_config(meta.get('cfg', ''))
    if 'model' not in values and UNREADABLE not in values:
        return {}
    model = values.get('model')
    backbone = model.get('backbone') if isinstance(model, dict) else None
    leaves = flatten(backbone).values()
    if not isinstance(backbone, dict) or any(isinstance(leaf, Expression) for leaf in leaves):
        raise CheckpointError(
            "the config in the checkpoint's meta['cfg'] does not name model.backbone as plain "
            "data: remove meta['cfg'] from the file and give num_heads instead."
        )
    return backbone


def describe_backbone(meta: Mapping) -> dict:
    """The options of the backbone that a checkpoint's meta names; empty if none are readable."""
    try:
        return read_backbone_config(meta) or dict(meta)
    except CheckpointError:
        return {}

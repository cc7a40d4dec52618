"""Projectors and predictors with two layers, as in BYOL."""

from mmpretrain.models.necks import NonLinearNeck
from torch import Tensor

SYNC_BN = dict(type='SyncBN')


def two_layers(in_channels: int, hidden: int, out_channels: int, norm_cfg: dict) -> NonLinearNeck:
    """Linear, norm, ReLU, Linear, as the projector and the predictor of BYOL."""
    return NonLinearNeck(
        in_channels,
        hidden,
        out_channels,
        with_bias=True,
        with_last_bias=True,
        with_last_bn=False,
        with_avg_pool=False,
        norm_cfg=norm_cfg,
    )


def apply_rows(layers: NonLinearNeck, vectors: Tensor) -> Tensor:
    """(..., C) -> (..., D): all vectors together are one batch for the norm."""
    return layers((vectors.flatten(0, -2),))[0].unflatten(0, vectors.shape[:-1])

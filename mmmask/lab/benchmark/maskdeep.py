"""Cost of several groups of visible positions against one, and of deep masking against BYOL."""

from collections.abc import Callable

import torch
from mmengine.config import Config
from torch import nn

from mmmask.registry import MODELS

NORM = dict(type='SyncBN')


def maskdeep_calls(batch_size: int, img_size: int, device: torch.device) -> dict[str, Callable]:
    """Forward and backward of whole steps on two views: ResNet-50, three levels, 1 and 4 groups.

    The time includes sampling the positions and the passes of the momentum copy, but not the
    optimizer, which is the same for all. Alternatives are BYOL and four groups with channels last.
    """
    views = [torch.randn(batch_size, 3, img_size, img_size, device=device) for _ in range(2)]

    def step(model: nn.Module) -> Callable:
        model = model.to(device).train()

        def call() -> None:
            model.zero_grad()
            model(views, mode='loss')['loss'].backward()

        return call

    return {
        'one group': step(build(num_groups=1)),
        'four groups': step(build(num_groups=4)),
        'four groups, channels last': step(
            build(num_groups=4).to(memory_format=torch.channels_last)
        ),
        'BYOL': step(build(num_groups=None)),
    }


def build(num_groups: int | None) -> nn.Module:
    """MaskDeep on ResNet-50 with the defaults, or BYOL without groups."""
    torch.manual_seed(0)
    masking = dict(type='mmmask.FeatureGroupMask', num_groups=num_groups)
    levels = dict(out_indices=(1, 2, 3), in_channels=(512, 1024, 2048), fusion='joint')
    if num_groups is None:
        masking, levels = None, dict(out_indices=(3,), in_channels=(2048,), fusion=None)
    out_indices = levels.pop('out_indices')
    model = Config(
        dict(
            type='mmmask.MaskDeep',
            backbone=dict(
                type='mmpretrain.ResNet', depth=50, out_indices=out_indices, norm_cfg=NORM
            ),
            masking=masking,
            neck=dict(type='mmmask.DeepMaskingNeck', **levels),
            head=dict(type='mmmask.EmbeddingPredictionHead'),
        )
    )
    return MODELS.build(model)

"""Updates of a ResNet-50 by LARS."""

from collections.abc import Callable

import torch
from mmpretrain.engine.optimizers import LARS as LoopLARS
from mmpretrain.models.backbones import ResNet
from torch import nn

from mmmask.engine.optimizers import LARS


def lars_calls(batch_size: int, img_size: int, device: torch.device) -> dict[str, Callable]:
    """One update of 25 million weights; ``batch_size`` and ``img_size`` do not matter."""

    def call(kind: type[torch.optim.Optimizer]) -> Callable:
        network = nn.Sequential(ResNet(50), nn.Linear(2048, 1000)).to(device)
        for parameter in network.parameters():
            parameter.grad = torch.randn_like(parameter)
        return kind(network.parameters(), lr=0.3, momentum=0.9, weight_decay=1e-6).step

    return {'LARS without the host': call(LARS), "mmpretrain's loop": call(LoopLARS)}

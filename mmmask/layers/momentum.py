"""Momentum copies of networks: parsers, momentum encoders, targets."""

from collections.abc import Sequence
from math import cos, pi

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


class MomentumCopy(AveragedModel):
    """An exponential moving average of some modules: copy ← m·copy + (1 − m)·online.

    The copies are ``copy.module[name]``. Their parameters do not require gradients, so optimizers
    and distributed training ignore them. The copies are part of the state dict, the online modules
    are not. Parameters are averaged. Buffers (the statistics of BatchNorm) are copied from the
    online modules at every update.

    :class:`mmmask.engine.hooks.MomentumUpdateHook` updates every momentum copy of a model once per
    optimizer step, and initialises a new copy with the weights of its online modules.

    Args:
        momentum: m, the weight of the old copy, as in papers (0.996); the ``momentum`` of mmengine
            and mmpretrain is 1 − m. With 1 the copy never changes.
        final_momentum: m at the end of training, reached along a half cosine; None keeps m
            constant.
        **modules: the online modules by name.

    Raises:
        ValueError: for a momentum outside [0, 1].
    """

    def __init__(
        self, momentum: float, final_momentum: float | None = None, **modules: nn.Module
    ) -> None:
        for name, value in (('momentum', momentum), ('final_momentum', final_momentum)):
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f'{name}={value} must lie in [0, 1], for example 0.99 to 0.9999.')
        online = nn.ModuleDict(modules)
        super().__init__(online, multi_avg_fn=self._average)
        self.requires_grad_(False)
        self.base_momentum = momentum
        self.final_momentum = momentum if final_momentum is None else final_momentum
        self.momentum = momentum
        # In a tuple, so that the online modules do not become submodules of their copy.
        self._online = (online,)

    def init_weights(self) -> None:
        """Copy the online modules, which mmengine initialises before their copy."""
        self.synchronize()

    @torch.no_grad()
    def synchronize(self) -> None:
        """Copy the weights and buffers of the online modules."""
        self.module.load_state_dict(self._online[0].state_dict())

    @property
    def is_new(self) -> bool:
        """Whether there has been no update yet, including updates before a resume."""
        return not self.n_averaged

    def update(self, progress: float = 0.0) -> None:
        """Average the online modules into the copy; the first update of all copies them.

        Args:
            progress: fraction of the training that is complete, in [0, 1].
        """
        falling = (1 + cos(pi * progress)) / 2
        self.momentum = self.final_momentum - (self.final_momentum - self.base_momentum) * falling
        self.update_parameters(self._online[0])

    def _average(
        self, averaged: Sequence[Tensor], online: Sequence[Tensor], num_averaged: Tensor
    ) -> None:
        get_ema_multi_avg_fn(self.momentum)(averaged, online, num_averaged)


class StillCopy(MomentumCopy):
    """A momentum copy that always stays in evaluation mode."""

    def __init__(self, *args, **modules) -> None:
        super().__init__(*args, **modules)
        self.train()

    def train(self, mode: bool = True) -> 'StillCopy':
        """Ignore the mode."""
        return super().train(False)

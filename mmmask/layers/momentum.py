"""Momentum copies of networks: parsers, momentum encoders, targets."""

from collections.abc import Sequence
from math import cos, pi

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


class MomentumCopy(AveragedModel):
    """An exponential moving average of some modules: copy ← m·copy + (1 − m)·online.

    The copies are ``copy.module[name]``. They are never trained: their parameters need no gradient,
    so that optimizers and distributed training leave them alone. They are part of the state dict,
    the online modules are not. Parameters are averaged; buffers (statistics of BatchNorm) are
    copied from the online modules at each update.

    :class:`mmmask.engine.hooks.MomentumUpdateHook` updates every momentum copy of a model once per
    optimizer step, and lets a new one start as an exact copy of the initialised online modules.

    Args:
        momentum: m, the share of the old copy, as papers give it (0.996; mmengine's and
            mmpretrain's ``momentum`` is 1 − m). 1 never moves.
        final_momentum: m at the end of training, reached along a half cosine; None keeps it.
        **modules: the online modules by name.

    Raises:
        ValueError: for a momentum outside [0, 1].
    """

    def __init__(
        self, momentum: float, final_momentum: float | None = None, **modules: nn.Module
    ) -> None:
        for name, value in (('momentum', momentum), ('final_momentum', final_momentum)):
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f'{name}={value} must lie in [0, 1]; usual is 0.99 to 0.9999.')
        online = nn.ModuleDict(modules)
        super().__init__(online, multi_avg_fn=self._average)
        self.requires_grad_(False)
        self.base_momentum = momentum
        self.final_momentum = momentum if final_momentum is None else final_momentum
        self.momentum = momentum
        # In a tuple, so that the online modules do not become submodules of their copy.
        self._online = (online,)

    def init_weights(self) -> None:
        """Start as the online modules: mmengine calls it after those registered before."""
        self.synchronize()

    @torch.no_grad()
    def synchronize(self) -> None:
        """Make the copy equal to the online modules."""
        self.module.load_state_dict(self._online[0].state_dict())

    @property
    def is_new(self) -> bool:
        """Whether there was no update yet, neither now nor in the training that is resumed."""
        return not self.n_averaged

    def update(self, progress: float = 0.0) -> None:
        """Move the copy; the very first update still copies.

        Args:
            progress: share of the training that is over, in [0, 1].
        """
        falling = (1 + cos(pi * progress)) / 2
        self.momentum = self.final_momentum - (self.final_momentum - self.base_momentum) * falling
        self.update_parameters(self._online[0])

    def _average(
        self, averaged: Sequence[Tensor], online: Sequence[Tensor], num_averaged: Tensor
    ) -> None:
        get_ema_multi_avg_fn(self.momentum)(averaged, online, num_averaged)

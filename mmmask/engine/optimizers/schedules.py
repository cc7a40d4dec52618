"""Learning rate over training."""

import math

from mmengine.optim.scheduler.lr_scheduler import LRSchedulerMixin
from mmengine.optim.scheduler.param_scheduler import INF, _ParamScheduler

from mmmask.registry import PARAM_SCHEDULERS


@PARAM_SCHEDULERS.register_module()
class WarmupCosineLR(LRSchedulerMixin, _ParamScheduler):
    """Linear warm-up from 0, then half a cosine to ``eta_min`` at the last epoch (MAE's reference).

    With ``convert_to_iter_based=True`` in the config the rate changes every iteration. The end is
    the run's own number of epochs, so a config states it once.

    Args:
        optimizer: optimizer or mmengine optimizer wrapper.
        warmup_epochs: length of the warm-up; may be fractional.
        eta_min: final learning rate. A parameter group whose rate is a fraction of the
            optimizer's (layer-wise decay) ends at the same fraction of ``eta_min``.
        epoch_length: steps per epoch; filled in by the conversion to iterations.

    Raises:
        ValueError: if the warm-up is not shorter than the run.
    """

    def __init__(
        self,
        optimizer,
        warmup_epochs: float,
        eta_min: float = 0.0,
        epoch_length: int = 1,
        end: int = INF,
        **kwargs,
    ) -> None:
        if not 0 <= warmup_epochs * epoch_length < end:
            raise ValueError(
                f'warmup_epochs={warmup_epochs} must lie in [0, {end / epoch_length:g}), the '
                'length of the run: lower it or raise train_cfg.max_epochs.'
            )
        self.warmup_epochs = warmup_epochs
        self.eta_min = eta_min
        self.epoch_length = epoch_length
        super().__init__(optimizer, end=end, **kwargs)

    @classmethod
    def build_iter_from_epoch(cls, *args, begin=0, end=INF, by_epoch=True, epoch_length, **kwargs):
        """The same schedule in steps of one iteration."""
        return cls(
            *args,
            begin=int(begin * epoch_length),
            end=end if end == INF else int(end * epoch_length),
            by_epoch=False,
            epoch_length=epoch_length,
            **kwargs,
        )

    def _get_value(self) -> list[float]:
        epoch = self.last_step / self.epoch_length
        if epoch < self.warmup_epochs:
            return [base * epoch / self.warmup_epochs for base in self.base_values]
        span = self.end / self.epoch_length - self.warmup_epochs
        cosine = (1 + math.cos(math.pi * (epoch - self.warmup_epochs) / span)) / 2
        floor = self.eta_min / self.optimizer.defaults['lr']
        return [base * (floor + (1 - floor) * cosine) for base in self.base_values]

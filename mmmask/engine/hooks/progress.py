"""The progress of training, for modules that change with it."""

from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop

from mmmask.registry import HOOKS


@HOOKS.register_module()
class ProgressHook(Hook):
    """Call ``set_progress`` of every module of the model that has this method.

    Progress is epoch/(epochs − 1): 0 in the first epoch and 1 in the last one. By iteration it is
    the same fraction of iterations. It follows from the epoch, so resuming needs no state.

    Args:
        by_epoch: whether progress changes every epoch, or else every iteration.
        warmup: epochs, or iterations, at the start during which progress stays 0.

    Raises:
        ValueError: if progress counts epochs but the training counts iterations.
    """

    def __init__(self, by_epoch: bool = True, warmup: int = 0) -> None:
        self.by_epoch = by_epoch
        self.warmup = warmup

    def before_train(self, runner) -> None:
        if self.by_epoch and isinstance(runner.train_loop, IterBasedTrainLoop):
            raise ValueError(
                'ProgressHook counts epochs, but the training counts iterations: set '
                'by_epoch=False.'
            )

    def before_train_epoch(self, runner) -> None:
        if self.by_epoch:
            self._set_progress(runner.model, runner.epoch, runner.max_epochs)

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        if not self.by_epoch:
            self._set_progress(runner.model, runner.iter, runner.max_iters)

    def _set_progress(self, model, step: int, num_steps: int) -> None:
        progress = max(step - self.warmup, 0) / max(num_steps - 1 - self.warmup, 1)
        for module in model.modules():
            if hasattr(module, 'set_progress'):
                module.set_progress(min(progress, 1.0))

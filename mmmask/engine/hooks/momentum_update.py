"""Updates of momentum copies."""

from mmengine.hooks import Hook

from mmmask.layers import MomentumCopy
from mmmask.registry import HOOKS


@HOOKS.register_module()
class MomentumUpdateHook(Hook):
    """Update every :class:`mmmask.layers.MomentumCopy` of the model once per optimizer step.

    Iterations that only accumulate gradients do not count, nor do steps that the dynamic loss scale
    of fp16 skips because a gradient is not finite. Before training starts, the copies are made
    equal to the initialised, or loaded, online modules. A resumed training uses the copies of its
    checkpoint. ``momentum`` in the log is that of the last update.
    """

    priority = 'BELOW_NORMAL'  # the copies start from the weights that other hooks have loaded

    def before_train(self, runner) -> None:
        self._copies = [m for m in runner.model.modules() if isinstance(m, MomentumCopy)]
        for copy in self._copies:
            if copy.is_new:
                copy.update()

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        self._scale = _loss_scale(runner.optim_wrapper)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        # The lowered scale is the only trace of a skipped step.
        skipped = _loss_scale(runner.optim_wrapper) < self._scale
        if runner.optim_wrapper.should_update() and not skipped:
            for copy in self._copies:
                copy.update(runner.iter / runner.max_iters)
                runner.message_hub.update_scalar('train/momentum', copy.momentum)


def _loss_scale(optim_wrapper) -> float:
    scaler = getattr(optim_wrapper, 'loss_scaler', None)
    return 1.0 if scaler is None else scaler.get_scale()

"""A check that masks still hide patches at random."""

from mmengine.hooks import Hook
from torch import Tensor

from mmmask.evaluation import observing, unwrap
from mmmask.registry import HOOKS


@HOOKS.register_module()
class DeadMaskHook(Hook):
    """Warn when masks no longer change, or hide all patches or none.

    At intervals the first process samples two masks for some images of the batch. It logs
    ``mask_change``: the fraction of patches that are hidden in only one of the two masks. A
    generator whose input is useless gives the same mask again. The hook does not change the
    training.
    Models without masks are ignored.

    Args:
        interval: iterations between checks.
        num_images: number of images of the batch that are used.
        alarm_below: value of ``mask_change`` below which to warn.
    """

    def __init__(
        self, interval: int = 500, num_images: int = 32, alarm_below: float = 0.01
    ) -> None:
        self.interval = interval
        self.num_images = num_images
        self.alarm_below = alarm_below

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        has_masks = hasattr(unwrap(runner.model), 'draw_mask')
        if has_masks and self.every_n_train_iters(runner, self.interval):
            self._check(runner, data_batch)

    def _check(self, runner, data_batch: dict) -> None:
        with observing(runner.model, data_batch) as (model, images):
            change, hidden = compare_masks(model, images[: self.num_images])
        runner.message_hub.update_scalar('train/mask_change', change)
        if change < self.alarm_below or hidden in (0, 1):
            runner.logger.warning(
                f'Dead mask: at iteration {runner.iter + 1} {hidden:.0%} of the patches are hidden '
                f'and {change:.2%} of them differ between two masks of the same image. Check '
                'model.masking. With a parser, also check that its evidence is finite '
                '(broken_images in the log).'
            )


def compare_masks(model, images: Tensor) -> tuple[float, float]:
    """(B, C, H, W) -> fractions of patches that differ between two masks, and that are hidden."""
    first, second = (model.draw_mask(images).hidden for _ in range(2))
    return (first ^ second).float().mean().item(), first.float().mean().item()

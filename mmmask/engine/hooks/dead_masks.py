"""Masks that no longer hide something at random."""

import torch
from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from torch import Tensor

from mmmask.evaluation import evaluation_mode
from mmmask.registry import HOOKS

from .random_state import preserve_random_state


@HOOKS.register_module()
class DeadMaskHook(Hook):
    """Warn when masks no longer change, or hide all patches or none.

    At intervals the first process draws masks twice for some images of the batch. The log gets
    ``mask_change``: where patches are hidden, the share of them that differs between the draws. A
    generator that is fed nothing useful draws the same mask again. Looking changes neither the
    random state nor the model; models without masks are left alone.

    Args:
        interval: iterations from one look to the next.
        num_images: images to look at.
        alarm_below: share of changing patches below which to warn.
    """

    def __init__(
        self, interval: int = 500, num_images: int = 32, alarm_below: float = 0.01
    ) -> None:
        self.interval = interval
        self.num_images = num_images
        self.alarm_below = alarm_below

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if self.every_n_train_iters(runner, self.interval):
            self._look(runner, data_batch)

    @master_only
    def _look(self, runner, data_batch: dict) -> None:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        if not hasattr(model, 'draw_mask'):
            return
        with preserve_random_state(), evaluation_mode(model), torch.no_grad():
            images = model.data_preprocessor(data_batch, False)['inputs']
            images = (images if isinstance(images, Tensor) else images[0])[: self.num_images]
            change, hidden = look_at_masks(model, images)
        runner.message_hub.update_scalar('train/mask_change', change)
        if change < self.alarm_below or hidden in (0, 1):
            runner.logger.warning(
                f'Dead mask: at iteration {runner.iter + 1} {hidden:.0%} of the patches are hidden '
                f'and {change:.2%} of them change from draw to draw. Check model.masking, and with '
                'a parser that its evidence is finite (broken_images in the log).'
            )


def look_at_masks(model, images: Tensor) -> tuple[float, float]:
    """(B, C, H, W) -> share of patches that differ between two draws, share that is hidden."""
    first, second = (model.draw_mask(images).hidden for _ in range(2))
    return (first ^ second).float().mean().item(), first.float().mean().item()

"""Trainings that go on but no longer learn."""

import torch
from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmpretrain.models import SelfSupDataPreprocessor
from torch import Tensor

from mmmask.evaluation import evaluation_mode, pool
from mmmask.registry import HOOKS

from .random_state import preserve_random_state


@HOOKS.register_module()
class AlarmHook(Hook):
    """Warn when all images get the same features, or masks no longer hide something at random.

    At intervals the first process looks at some images of the batch, and the log gets

    - ``feature_std``: the standard deviation over images of their features, each scaled to length
      1, times √D. It is 1 for directions at random and 0 when the encoder has collapsed (Chen & He,
      SimSiam, CVPR 2021, §4.1).
    - ``mask_change``: where patches are hidden, the share of them that differs between two draws of
      masks for the same images. A generator that is fed nothing useful draws the same mask again.

    A warning follows when either falls below its least value, or when all patches or none are
    hidden. Models that learn from labels are left alone. Looking changes neither the random state
    nor the model.

    Args:
        interval: iterations from one look to the next.
        num_images: images to look at.
        least_feature_std, least_mask_change: values below which to warn.
    """

    def __init__(
        self,
        interval: int = 500,
        num_images: int = 32,
        least_feature_std: float = 0.01,
        least_mask_change: float = 0.01,
    ) -> None:
        self.interval = interval
        self.num_images = num_images
        self.least_feature_std = least_feature_std
        self.least_mask_change = least_mask_change

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if self.every_n_train_iters(runner, self.interval):
            self._look(runner, data_batch)

    @master_only
    def _look(self, runner, data_batch: dict) -> None:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        if not isinstance(model.data_preprocessor, SelfSupDataPreprocessor):
            return
        with preserve_random_state(), evaluation_mode(model), torch.no_grad():
            images = model.data_preprocessor(data_batch, False)['inputs']
            images = (images if isinstance(images, Tensor) else images[0])[: self.num_images]
            spread = feature_std(model, images)
            masks = look_at_masks(model, images) if hasattr(model, 'draw_mask') else None
        runner.message_hub.update_scalar('train/feature_std', spread)
        if spread < self.least_feature_std:
            runner.logger.warning(
                f'Collapse: feature_std={spread:.2g} at iteration {runner.iter + 1} is below '
                f'{self.least_feature_std}, all images look the same to the encoder. Lower the '
                'learning rate or warm up longer; with a momentum copy, check that it moves.'
            )
        if masks is None:
            return
        change, hidden = masks
        runner.message_hub.update_scalar('train/mask_change', change)
        if change < self.least_mask_change or hidden in (0, 1):
            runner.logger.warning(
                f'Dead mask: at iteration {runner.iter + 1} {hidden:.0%} of the patches are hidden '
                f'and {change:.2%} of them change from draw to draw. Check model.masking, and with '
                'a parser that its evidence is finite (broken_images in the log).'
            )


def feature_std(model, images: Tensor) -> float:
    """(B, C, H, W) -> standard deviation of unit features over images, times √D."""
    extra = getattr(model.backbone, 'num_extra_tokens', 0)
    features = pool(model(images, mode='tensor'), 'mean', extra).float()
    features = torch.nn.functional.normalize(features, dim=1)
    return (features.std(dim=0).mean() * features.shape[1] ** 0.5).item()


def look_at_masks(model, images: Tensor) -> tuple[float, float]:
    """(B, C, H, W) -> share of patches that differ between two draws, share that is hidden."""
    first, second = (model.draw_mask(images).hidden for _ in range(2))
    return (first ^ second).float().mean().item(), first.float().mean().item()

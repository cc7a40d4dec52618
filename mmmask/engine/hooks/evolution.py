"""How the parts that a model sees, and the masks drawn from them, change over training."""

from typing import NamedTuple

import numpy as np
import torch
from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from torch import Tensor

from mmmask.evaluation import evaluation_mode
from mmmask.registry import DATASETS, HOOKS
from mmmask.visualization import draw_evolution

from .random_state import preserve_random_state
from .reconstruction import normalization, sample_batch


class Stage(NamedTuple):
    """What a model made of some images: a title, (B, h, w) parts and (B, h, w) hidden patches."""

    title: str
    labels: Tensor
    hidden: Tensor


@HOOKS.register_module()
class EvolutionHook(Hook):
    """Draw the evolution strip: parts and masks of the same images at several stages of training.

    A stage is added in the first epoch, at every interval and in the last epoch; the picture of all
    stages so far goes through ``Visualizer.add_image``. Stages are kept in the checkpoint, so a
    resumed training draws them all. Training is left as it would be without the hook.

    Args:
        dataset: config of the data set, with a pipeline that does not augment.
        interval: epochs from one stage to the next.
        num_images: rows of the picture.
        mask_seed: seed of the masks, the same at all stages.
    """

    def __init__(
        self, dataset: dict, interval: int = 1, num_images: int = 4, mask_seed: int = 0
    ) -> None:
        self.dataset = dataset
        self.interval = interval
        self.num_images = num_images
        self.mask_seed = mask_seed
        self.stages = []

    @master_only
    def before_train(self, runner) -> None:
        with preserve_random_state():
            self._batch = sample_batch(DATASETS.build(self.dataset), self.num_images)
        if runner.iter == 0:
            self.stages = []

    def after_train_epoch(self, runner) -> None:
        due = self.every_n_epochs(runner, self.interval) or self.is_last_train_epoch(runner)
        if due or runner.epoch == 0:
            self._draw(runner)

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        checkpoint['evolution'] = [tuple(stage) for stage in self.stages]

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        self.stages = [Stage(*stage) for stage in checkpoint.get('evolution', [])]

    @master_only
    def _draw(self, runner) -> None:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        stage = divide_and_mask(model, self._batch, self.mask_seed)
        title = f'epoch {runner.epoch + 1}, {stage.title}'
        self.stages.append(stage._replace(title=title))
        picture = draw_stages(model, self._batch, self.stages)
        runner.visualizer.add_image('evolution', picture, step=runner.iter)


def divide_and_mask(model, batch: dict, mask_seed: int) -> Stage:
    """What a model with a parser makes of a batch, at the progress its masks are set to.

    Raises:
        ValueError: if the model does not divide images.
    """
    if not hasattr(model.masking, 'divide'):
        raise ValueError(
            f'{type(model.masking).__name__} does not divide images into parts: choose a model '
            'with EvolvedHierarchyMask or EvolvedPartMask.'
        )
    with preserve_random_state(), evaluation_mode(model), torch.no_grad():
        torch.manual_seed(mask_seed)
        images = _images(model, batch)
        grid = model.backbone.grid(images)
        evidence = model.parser(images) if model.masking.needs_evidence else None
        labels = model.masking.divide(len(images), grid, images.device, evidence)
        hidden = model.masking.draw(labels, grid).hidden
    parts = np.mean([len(one.unique()) for one in labels])
    labels, hidden = (tensor.unflatten(1, grid).cpu() for tensor in (labels, hidden))
    return Stage(f'{parts:.0f} parts', labels, hidden)


def draw_stages(model, batch: dict, stages: list[Stage]) -> np.ndarray:
    """Stages of a batch -> (H, W, 3) uint8 picture."""
    return draw_evolution(_images(model, batch), stages, *normalization(model))


def _images(model, batch: dict) -> Tensor:
    images = model.data_preprocessor(batch, False)['inputs']
    return images if isinstance(images, Tensor) else images[0]

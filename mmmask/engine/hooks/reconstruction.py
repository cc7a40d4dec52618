"""What the model predicts, as a picture."""

import numpy as np
import torch
from mmengine.dataset import default_collate
from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper

from mmmask.evaluation import evaluation_mode
from mmmask.registry import DATASETS, HOOKS
from mmmask.visualization import draw_reconstruction

from .random_state import preserve_random_state


@HOOKS.register_module()
class ReconstructionHook(Hook):
    """Draw images, masks, targets and predictions at intervals, and at the end of training.

    The images and their masks are the same every time, so the pictures can be compared. They go
    through ``Visualizer.add_image``: to files, TensorBoard and what else is configured. The first
    process draws, and training is left exactly as it would be without the hook.

    Args:
        dataset: config of the data set, with a pipeline that does not augment. The images are
            taken at equal distances over the whole set, which is often sorted by class.
        interval: epochs, or iterations, from one picture to the next.
        by_epoch: whether ``interval`` counts epochs.
        num_images: rows of the picture.
        mask_seed: seed of the masks.
    """

    def __init__(
        self,
        dataset: dict,
        interval: int = 1,
        by_epoch: bool = True,
        num_images: int = 8,
        mask_seed: int = 0,
    ) -> None:
        self.dataset = dataset
        self.interval = interval
        self.by_epoch = by_epoch
        self.num_images = num_images
        self.mask_seed = mask_seed

    @master_only
    def before_train(self, runner) -> None:
        with preserve_random_state():
            self._batch = sample_batch(DATASETS.build(self.dataset), self.num_images)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        due = self.every_n_train_iters(runner, self.interval) or self.is_last_train_iter(runner)
        if not self.by_epoch and due:
            self._draw(runner, runner.iter + 1)

    def after_train_epoch(self, runner) -> None:
        due = self.every_n_epochs(runner, self.interval) or self.is_last_train_epoch(runner)
        if self.by_epoch and due:
            self._draw(runner, runner.iter)

    @master_only
    def _draw(self, runner, step: int) -> None:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        picture = reconstruct_and_draw(model, self._batch, self.mask_seed)
        runner.visualizer.add_image('reconstruction', picture, step=step)


def sample_batch(dataset, num_images: int) -> dict:
    """A collated batch of images at equal distances over a data set."""
    num_images = min(num_images, len(dataset))
    indices = np.linspace(0, len(dataset) - 1, num_images).round().astype(int)
    return default_collate([dataset[int(index)] for index in indices])


def reconstruct_and_draw(model, batch: dict, mask_seed: int) -> np.ndarray:
    """A batch -> (H, W, 3) uint8 picture; random states and the modes of modules stay."""
    with preserve_random_state(), evaluation_mode(model), torch.no_grad():
        torch.manual_seed(mask_seed)
        data = model.data_preprocessor(batch, False)
        reconstruction = model(**data, mode='predict')
    return draw_reconstruction(reconstruction, model.target_generator, *normalization(model))


def normalization(model) -> tuple[list[float], list[float]]:
    """Mean and standard deviation by which a model's data preprocessor normalises, in 0 to 255."""
    preprocessor = model.data_preprocessor
    if not hasattr(preprocessor, 'mean'):
        return [0.0] * 3, [1.0] * 3
    return preprocessor.mean.flatten().tolist(), preprocessor.std.flatten().tolist()

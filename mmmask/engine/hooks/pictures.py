"""Pictures of the same images in the course of training."""

from mmengine.hooks import Hook

from mmmask.pictures import (
    Stage,
    divide_and_mask,
    draw_stages,
    reconstruct_and_draw,
    sample_batch,
)
from mmmask.registry import DATASETS, HOOKS


class PictureHook(Hook):
    """Draw the same images at intervals and after the last epoch.

    Pictures go through ``Visualizer.add_image`` to files, TensorBoard or any other backend of the
    config. All processes draw, as their weights may be divided, and the first one writes. The hook
    does not change the training.

    Args:
        dataset: config of the data set, with a pipeline that does not augment. The images are
            taken at equal distances from the whole set, because many sets are sorted by class.
        interval: epochs between pictures.
        num_images: number of rows of the picture.
        mask_seed: seed of the masks of every picture.
    """

    def __init__(
        self, dataset: dict, interval: int = 1, num_images: int = 8, mask_seed: int = 0
    ) -> None:
        self.dataset = dataset
        self.interval = interval
        self.num_images = num_images
        self.mask_seed = mask_seed

    def before_train(self, runner) -> None:
        self.batch = sample_batch(DATASETS.build(self.dataset), self.num_images)

    def after_train_epoch(self, runner) -> None:
        if self.is_due(runner):
            self.draw(runner)

    def is_due(self, runner) -> bool:
        return self.every_n_epochs(runner, self.interval) or self.is_last_train_epoch(runner)

    def draw(self, runner) -> None:
        raise NotImplementedError


@HOOKS.register_module()
class ReconstructionHook(PictureHook):
    """Draw images, masks, targets and predictions; see :class:`PictureHook`."""

    def draw(self, runner) -> None:
        picture = reconstruct_and_draw(runner.model, self.batch, self.mask_seed)
        runner.visualizer.add_image('reconstruction', picture, step=runner.iter)


@HOOKS.register_module()
class EvolutionHook(PictureHook):
    """Draw the parts that a model finds and the masks made of them; see :class:`PictureHook`.

    Each picture shows every stage so far, starting with the first epoch. Checkpoints contain the
    stages, so a resumed training draws all of them.
    """

    def __init__(self, dataset: dict, num_images: int = 4, **kwargs) -> None:
        super().__init__(dataset, num_images=num_images, **kwargs)
        self.stages = []

    def before_train(self, runner) -> None:
        super().before_train(runner)
        if runner.iter == 0:
            self.stages = []

    def is_due(self, runner) -> bool:
        return runner.epoch == 0 or super().is_due(runner)

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        checkpoint['evolution'] = [tuple(stage) for stage in self.stages]

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        self.stages = [Stage(*stage) for stage in checkpoint.get('evolution', [])]

    def draw(self, runner) -> None:
        stage = divide_and_mask(runner.model, self.batch, self.mask_seed)
        title = f'epoch {runner.epoch + 1}, {stage.title}'
        self.stages.append(stage._replace(title=title))
        picture = draw_stages(runner.model, self.batch, self.stages)
        runner.visualizer.add_image('evolution', picture, step=runner.iter)

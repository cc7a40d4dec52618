"""The quality of features during training."""

from functools import cached_property

from mmengine.dataset import default_collate
from mmengine.hooks import Hook
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from mmmask.evaluation import (
    accuracy,
    check_labels,
    describe_dataset,
    knn_classify,
    pooled,
    try_samples,
    unwrap,
)
from mmmask.random_state import preserve_random_state
from mmmask.registry import DATASETS, HOOKS


@HOOKS.register_module()
class OnlineKNNHook(Hook):
    """Classify labelled images by the nearest neighbours of their features, at intervals.

    A training that starts at iteration 0 is also evaluated before its first step. This gives the
    baseline of the initial weights. ``knn_top1`` in percent goes to the log, the message hub and
    the visualizer. The images are divided among all processes. The hook does not change the
    training.

    Args:
        bank: config of the labelled data set whose images vote, with a pipeline that does not
            augment.
        query: config of the labelled data set whose images are classified.
        interval: epochs, or iterations, between evaluations.
        by_epoch: whether ``interval`` counts epochs.
        k: see :func:`mmmask.evaluation.knn_classify`.
        batch_size, num_workers: options of the loaders, per process.

    Raises:
        ValueError: if the images of ``bank`` or ``query`` have no labels, or the bank has fewer
            than k.
    """

    priority = 'BELOW_NORMAL'  # the baseline uses the weights that other hooks have loaded

    def __init__(
        self,
        bank: dict,
        query: dict,
        interval: int = 1,
        by_epoch: bool = True,
        k: int = 20,
        batch_size: int = 256,
        num_workers: int = 0,
    ) -> None:
        self.configs = dict(bank=bank, query=query)
        self.interval = interval
        self.by_epoch = by_epoch
        self.k = k
        self.loader = dict(batch_size=batch_size, num_workers=num_workers)

    @cached_property
    def datasets(self) -> dict[str, Dataset]:
        """The two data sets by their keys."""
        with preserve_random_state():
            return {
                f'OnlineKNNHook.{name}': DATASETS.build(cfg) for name, cfg in self.configs.items()
            }

    def loaders(self) -> dict[str, DataLoader]:
        """A loader of each data set, by its key."""
        return {
            key: DataLoader(dataset, collate_fn=default_collate, **self.loader)
            for key, dataset in self.datasets.items()
        }

    def rehearse(self, model: nn.Module, samples: dict[str, list[dict]]) -> None:
        """Describe a few samples of each data set, and compare k with the size of the bank."""
        for key, labels in try_samples(model, samples, pooled(model, 'mean')).items():
            check_labels(key, labels)
        size = len(self.datasets['OnlineKNNHook.bank'])
        if not 1 <= self.k <= size:
            raise ValueError(
                f'k={self.k} of OnlineKNNHook must lie between 1 and the {size} images of its bank.'
            )

    def before_train(self, runner) -> None:
        if runner.iter == 0:
            self._evaluate(runner, 'before training', 0)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if not self.by_epoch and self.every_n_train_iters(runner, self.interval):
            self._evaluate(runner, f'at iteration {runner.iter + 1}', runner.iter + 1)

    def after_train_epoch(self, runner) -> None:
        if self.by_epoch and self.every_n_epochs(runner, self.interval):
            self._evaluate(runner, f'after epoch {runner.epoch + 1}', runner.iter)

    def _evaluate(self, runner, moment: str, step: int) -> None:
        bank, bank_labels = self._describe(runner, 'bank')
        query, labels = self._describe(runner, 'query')
        top1 = accuracy(knn_classify(bank, bank_labels, query, self.k), labels)
        runner.message_hub.update_scalar('knn_top1', top1)
        runner.visualizer.add_scalar('knn_top1', top1, step=step)
        runner.logger.info(
            f'knn_top1: {top1:.2f} % {moment} (k={self.k}, {len(query):,} images against '
            f'{len(bank):,})'
        )

    def _describe(self, runner, name: str) -> tuple[Tensor, Tensor]:
        """(M, D) features and (M,) labels of all images, on the model's device."""
        model = unwrap(runner.model)
        key = f'OnlineKNNHook.{name}'
        features, labels = describe_dataset(
            model, self.datasets[key], pooled(model, 'mean'), **self.loader
        )
        check_labels(key, labels)
        device = next(model.parameters()).device
        return features['mean'].to(device), labels.to(device)

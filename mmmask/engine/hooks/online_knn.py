"""The quality of features during training."""

from mmengine.hooks import Hook
from torch import Tensor

from mmmask.evaluation import accuracy, describe_dataset, knn_classify, pooled, unwrap
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
        ValueError: if the images of ``bank`` or ``query`` have no labels.
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

    def before_train(self, runner) -> None:
        with preserve_random_state():
            self.datasets = {name: DATASETS.build(cfg) for name, cfg in self.configs.items()}
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
        features, labels = describe_dataset(
            model, self.datasets[name], pooled(model, 'mean'), **self.loader
        )
        if labels is None:
            raise ValueError(
                f'{name}={self.configs[name]!r} of OnlineKNNHook gives images without labels: '
                'set with_label=True, or remove the hook to train without measuring accuracy.'
            )
        device = next(model.parameters()).device
        return features['mean'].to(device), labels.to(device)

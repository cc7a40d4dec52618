"""How good the features are while they are learnt."""

import torch
from mmengine import dist
from mmengine.dataset import default_collate
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from mmmask.evaluation import extract_features, knn_classify
from mmmask.registry import DATASETS, HOOKS

from .random_state import preserve_random_state


@HOOKS.register_module()
class OnlineKNNHook(Hook):
    """Classify labelled images by the nearest neighbours of their features as training goes on.

    Runs once before a training that starts at iteration 0, which gives the baseline of the initial
    weights, and then at every interval. ``knn_top1`` in percent goes to the log, the message hub
    and the visualizer. All processes share the work. Training is left exactly as it would be
    without the hook: random states, modes of modules and data order do not change.

    Args:
        bank: config of the labelled data set that votes, with a pipeline that does not augment.
        query: config of the labelled data set that is classified.
        interval: epochs, or iterations, from one evaluation to the next.
        by_epoch: whether ``interval`` counts epochs.
        k, temperature: see :func:`mmmask.evaluation.knn_classify`.
        pooling: see :func:`mmmask.evaluation.pool`.
        batch_size, num_workers: of the loaders, per process.

    Raises:
        ValueError: if the images of bank or query carry no labels.
    """

    priority = 'BELOW_NORMAL'  # the baseline is that of the weights other hooks have loaded

    def __init__(
        self,
        bank: dict,
        query: dict,
        interval: int = 1,
        by_epoch: bool = True,
        k: int = 20,
        temperature: float = 0.07,
        pooling: str = 'mean',
        batch_size: int = 256,
        num_workers: int = 0,
    ) -> None:
        self.datasets = dict(bank=bank, query=query)
        self.interval = interval
        self.by_epoch = by_epoch
        self.k = k
        self.temperature = temperature
        self.pooling = pooling
        self.batch_size = batch_size
        self.num_workers = num_workers

    def before_train(self, runner) -> None:
        with preserve_random_state():
            self._loaders = {name: self._build_loader(cfg) for name, cfg in self.datasets.items()}
        if runner.iter == 0:
            self._evaluate(runner, 'before training', 0)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if not self.by_epoch and self.every_n_train_iters(runner, self.interval):
            self._evaluate(runner, f'at iteration {runner.iter + 1}', runner.iter + 1)

    def after_train_epoch(self, runner) -> None:
        if self.by_epoch and self.every_n_epochs(runner, self.interval):
            self._evaluate(runner, f'after epoch {runner.epoch + 1}', runner.iter)

    def _build_loader(self, cfg: dict) -> DataLoader:
        """A loader of this process's share of a data set."""
        dataset = DATASETS.build(cfg)
        rank, world_size = dist.get_dist_info()
        return DataLoader(
            Subset(dataset, range(rank, len(dataset), world_size)),
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            collate_fn=default_collate,
        )

    def _evaluate(self, runner, moment: str, step: int) -> None:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        with preserve_random_state():
            bank, bank_labels = map(_gather, self._extract(model, 'bank'))
            query, query_labels = self._extract(model, 'query')
            predictions = knn_classify(bank, bank_labels, query, self.k, self.temperature)
            correct = _gather(predictions == query_labels)
        top1 = correct.float().mean().item() * 100
        runner.message_hub.update_scalar('knn_top1', top1)
        runner.visualizer.add_scalar('knn_top1', top1, step=step)
        runner.logger.info(
            f'knn_top1: {top1:.2f} % {moment} (k={self.k}, {len(correct):,} images against '
            f'{len(bank):,})'
        )

    def _extract(self, model, name: str) -> tuple[Tensor, Tensor]:
        features, labels = extract_features(model, self._loaders[name], self.pooling)
        if labels is None:
            raise ValueError(
                f'{name}={self.datasets[name]!r} of OnlineKNNHook gives images without labels: '
                'set with_label=True, or remove the hook to train without watching accuracy.'
            )
        return features, labels


def _gather(values: Tensor) -> Tensor:
    """This process's rows -> the rows of all processes, on the same device."""
    if dist.get_world_size() == 1:
        return values
    return torch.cat(dist.all_gather_object(values.cpu())).to(values.device)

"""A check that a classifier is better than the most frequent class."""

import torch
from mmengine.dist import all_gather_object
from mmengine.hooks import Hook

from mmmask.evaluation import majority_warning
from mmmask.registry import HOOKS


@HOOKS.register_module()
class MajorityClassHook(Hook):
    """Warn if a training or a test ends below the accuracy of the most frequent class.

    After a training the last validation counts. Metrics other than ``metric``, and images with
    none or several labels, are ignored.

    Args:
        metric: name of the top-1 accuracy in percent.
    """

    priority = 'LOW'

    def __init__(self, metric: str = 'accuracy/top1') -> None:
        self.metric = metric
        self.labels: list[int] = []
        self.warning: str | None = None

    def _before_epoch(self, runner, mode: str = 'train') -> None:
        if mode != 'train':
            self.labels = []

    def _after_iter(self, runner, batch_idx, data_batch=None, outputs=None, mode='train') -> None:
        if mode != 'train':
            labels = [getattr(sample, 'gt_label', ()) for sample in outputs or ()]
            self.labels += [int(label) for label in labels if len(label) == 1]

    def after_val_epoch(self, runner, metrics: dict | None = None) -> None:
        labels = torch.tensor(sum(all_gather_object(self.labels), []))
        known = len(labels) and self.metric in (metrics or {})
        self.warning = (
            majority_warning(self.metric, metrics[self.metric], labels) if known else None
        )

    def after_train(self, runner) -> None:
        if self.warning:
            runner.logger.warning(self.warning)

    def after_test_epoch(self, runner, metrics: dict | None = None) -> None:
        self.after_val_epoch(runner, metrics)
        self.after_train(runner)

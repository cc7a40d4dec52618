"""Evaluation of frozen features: nearest neighbours, linear probe, retrieval."""

from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from mmengine import dist
from mmengine.dataset import default_collate
from mmengine.runner import BaseLoop
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from mmmask.evaluation import (
    accuracy,
    check_labels,
    describe_dataset,
    describe_layers,
    fit_whitening,
    knn_classify,
    linear_probe,
    majority_warning,
    mean_average_precision,
    pooled,
    rank,
    recall_at,
    try_samples,
    unwrap,
)
from mmmask.evaluation.features import Describe
from mmmask.registry import DATASETS, LOOPS
from mmmask.visualization import draw_ranking, sample_pixels, spread

NOBODY = -1  # label of distractors
RECALLS = (1, 5)
# Data sets of retrieval whose labels are not read.
DISTRACTORS, WHITENING = 'test_cfg.distractors', 'test_cfg.whitening'


class Described(NamedTuple):
    """A data set of M images with its (M, D) descriptors by name and (M,) labels, on the CPU."""

    dataset: Dataset
    descriptors: dict[str, Tensor]
    labels: Tensor


class FrozenTestLoop(BaseLoop):
    """A test of a backbone's features. The images are divided among all processes.

    The config's ``test_evaluator`` is not used: set it to an empty list.

    Args:
        dataloader: config of the loader. Subclasses document its data set.
        others: configs of the other data sets, by their keys in the config.

    Attributes:
        datasets: all data sets by their keys in the config.
    """

    needs_labels = False

    def __init__(self, runner, dataloader: dict, others: dict[str, dict]) -> None:
        self.options = {key: dataloader.get(key, 0) for key in ('batch_size', 'num_workers')}
        configs = {'test_dataloader': dataloader['dataset'], **others}
        self.datasets = {key: DATASETS.build(config) for key, config in configs.items()}
        super().__init__(runner, self.loaders()['test_dataloader'])

    def loaders(self) -> dict[str, DataLoader]:
        """A loader of each data set, by its key in the config."""
        return {
            key: DataLoader(dataset, collate_fn=default_collate, **self.options)
            for key, dataset in self.datasets.items()
        }

    def rehearse(self, model: nn.Module, samples: dict[str, list[dict]]) -> None:
        """Describe a few samples of each data set, by its key.

        Raises:
            ValueError: see :func:`mmmask.evaluation.try_samples`; also if needed labels are
                missing.
        """
        for key, labels in try_samples(model, samples, self.descriptors()).items():
            if self.needs_labels:
                check_labels(key, labels)

    def run(self) -> dict[str, float]:
        """Run the test, print a table, and log its values."""
        self.runner.call_hook('before_test')
        self.runner.call_hook('before_test_epoch')
        metrics = self.measure()
        self.runner.call_hook('after_test_epoch', metrics=metrics)
        self.runner.call_hook('after_test')
        return metrics

    def measure(self) -> dict[str, float]:
        raise NotImplementedError

    @property
    def backbone(self):
        return unwrap(self.runner.model).backbone

    @property
    def num_extra_tokens(self) -> int:
        return getattr(self.backbone, 'num_extra_tokens', 0)

    def descriptors(self) -> Describe:
        """The function that computes descriptors from feature maps."""
        raise NotImplementedError

    def describe(self, key: str) -> Described:
        """Descriptors of all images of a data set; see :func:`mmmask.evaluation.describe_dataset`.

        Images without labels get the label of distractors.

        Raises:
            ValueError: if labels are needed and missing.
        """
        dataset = self.datasets[key]
        descriptors, labels = describe_dataset(
            unwrap(self.runner.model), dataset, self.descriptors(), key, **self.options
        )
        if self.needs_labels:
            check_labels(key, labels)
        if labels is None:
            labels = torch.full((len(dataset),), NOBODY)
        return Described(dataset, descriptors, labels)


class BankTestLoop(FrozenTestLoop):
    """A test of the mean of the patches, and of a class token if any, against a labelled bank."""

    needs_labels = True

    def __init__(self, runner, dataloader: dict, bank: dict) -> None:
        super().__init__(runner, dataloader, {'test_cfg.bank': bank})

    def descriptors(self) -> Describe:
        poolings = ('cls', 'mean') if self.num_extra_tokens else ('mean',)
        return pooled(unwrap(self.runner.model), *poolings)

    def describe_both(self) -> tuple[Described, Described]:
        """The bank, and the images of the loader."""
        return self.describe('test_cfg.bank'), self.describe('test_dataloader')


@LOOPS.register_module()
class KNNTestLoop(BankTestLoop):
    """k-nearest-neighbour accuracy of a frozen backbone, for each way of pooling and each k.

    The class token and the mean of the patch tokens are reported separately. Masked image modelling
    has low k-NN accuracy by nature: use it to rank checkpoints of one run, not methods.

    Args:
        dataloader: config of a loader of labelled images to classify.
        bank: config of the labelled data set whose images vote.
        k: one or several numbers of neighbours.
        temperature: see :func:`mmmask.evaluation.knn_classify`.

    Raises:
        ValueError: if the bank has fewer than k images, or images have no labels.
    """

    def __init__(
        self,
        runner,
        dataloader: dict,
        evaluator=(),
        *,
        bank: dict,
        k: int | tuple[int, ...] = (20, 200),
        temperature: float = 0.07,
    ) -> None:
        super().__init__(runner, dataloader, bank)
        self.k, self.temperature = (k,) if isinstance(k, int) else tuple(k), temperature
        size = len(self.datasets['test_cfg.bank'])
        if not all(isinstance(one, int) and 1 <= one <= size for one in self.k):
            raise ValueError(
                f'test_cfg.k={self.k} must lie between 1 and the {size} images of test_cfg.bank: '
                'change it, for example --cfg-options test_cfg.k="[5]".'
            )

    def measure(self) -> dict[str, float]:
        """Top-1 in percent, by ``knn<k>/<pooling>``."""
        bank, query = self.describe_both()

        def top1(k: int, pooling: str) -> float:
            sides = bank.descriptors[pooling], bank.labels, query.descriptors[pooling]
            return accuracy(knn_classify(*sides, k, self.temperature), query.labels)

        return {f'knn{k}/{part}': top1(k, part) for k in self.k for part in bank.descriptors}


@LOOPS.register_module()
class LinearProbeTestLoop(BankTestLoop):
    """Accuracy of a converged linear classifier on frozen features, for each way of pooling.

    A probe trained by gradient steps for a million images learns nothing from a few thousand. This
    one is fitted to the features of the unaltered images until it converges, and chooses its
    regularization on a fifth of the bank.

    Args:
        dataloader: config of a loader of labelled images to classify.
        bank: config of the labelled data set that the classifier is fitted to.
        options: see :func:`mmmask.evaluation.linear_probe`.

    Raises:
        ValueError: if images have no labels.
    """

    def __init__(self, runner, dataloader: dict, evaluator=(), *, bank: dict, **options) -> None:
        super().__init__(runner, dataloader, bank)
        self.probe_options = options

    def measure(self) -> dict[str, float]:
        """Top-1 in percent by ``linear/<pooling>``, and that of the most frequent class."""
        bank, query = self.describe_both()
        metrics = {}
        for pooling, features in bank.descriptors.items():
            probe = linear_probe(
                features,
                bank.labels,
                query.descriptors[pooling],
                query.labels,
                **self.probe_options,
            )
            self.runner.logger.info(f'linear/{pooling}: regularization {probe.regularization:g}')
            if warning := majority_warning(f'linear/{pooling}', probe.accuracy, query.labels):
                self.runner.logger.warning(warning)
            metrics[f'linear/{pooling}'] = probe.accuracy
        return metrics | {'majority': probe.majority}


@LOOPS.register_module()
class RetrievalTestLoop(FrozenTestLoop):
    """Image retrieval with the features of each layer of a frozen backbone.

    An image is relevant if it has the query's label. Images with the label −1 or without a label
    are distractors. The descriptors are those of :func:`mmmask.evaluation.describe_layers` for the
    ``out_indices`` of the backbone. They are compared by their cosine.

    Args:
        dataloader: config of a loader of the images that are searched.
        queries: configs of data sets by name. Each one is reported separately, and so is their
            mean.
        distractors: config of a data set that is added to the images that are searched.
        whitening: config of a data set of unrelated images. Their statistics centre and whiten
            the descriptors.
        top: length of the ranked lists; all images by default.
        num_drawn: number of rows of the picture of ranked images; 0 draws none.

    Raises:
        ValueError: if no image is relevant to a query.
    """

    def __init__(
        self,
        runner,
        dataloader: dict,
        evaluator=(),
        *,
        queries: dict[str, dict],
        distractors: dict | None = None,
        whitening: dict | None = None,
        top: int | None = None,
        num_drawn: int = 8,
    ) -> None:
        others = {f'test_cfg.queries.{title}': dataset for title, dataset in queries.items()}
        others |= {DISTRACTORS: distractors} if distractors else {}
        others |= {WHITENING: whitening} if whitening else {}
        super().__init__(runner, dataloader, others)
        self.queries = tuple(queries)
        self.top, self.num_drawn = top, num_drawn

    def descriptors(self) -> Describe:
        return partial(
            describe_layers,
            layers=layer_names(self.backbone),
            num_extra_tokens=self.num_extra_tokens,
        )

    def measure(self) -> dict[str, float]:
        """Scores in percent, by ``<queries>/<descriptor>/mAP`` and ``.../R@<k>``."""
        database = self.describe('test_dataloader')
        bank, labels = database.descriptors, database.labels
        if DISTRACTORS in self.datasets:
            extra = self.describe(DISTRACTORS).descriptors
            bank = {name: torch.cat([part, extra[name]]) for name, part in bank.items()}
            padding = labels.new_full((len(extra[next(iter(extra))]),), NOBODY)
            labels = torch.cat([labels, padding])
        whiten = dict.fromkeys(bank, lambda descriptors: descriptors)
        if WHITENING in self.datasets:
            unrelated = self.describe(WHITENING).descriptors
            whiten = {name: fit_whitening(part) for name, part in unrelated.items()}

        scores = {}
        for title in self.queries:
            query = self.describe(f'test_cfg.queries.{title}')
            relevant = _relevant(query.labels, labels, title)
            for name, part in query.descriptors.items():
                ranking = rank(whiten[name](bank[name]), whiten[name](part), self.top)
                row = scores.setdefault(name, {})
                row[title, 'mAP'] = 100 * mean_average_precision(ranking, relevant)
                for k in RECALLS:
                    row[title, f'R@{k}'] = 100 * recall_at(ranking, relevant, k)
            if self.num_drawn and title == self.queries[0]:
                self._draw(query, ranking, relevant, database)
        if len(self.queries) > 1:
            for row in scores.values():
                values = [row[title, 'mAP'] for title in self.queries]
                row['mean', 'mAP'] = float(np.mean(values))
        if dist.is_main_process():
            Console().print(score_table(scores, f'Retrieval among {len(labels):,} images'))
        return {
            f'{title}/{name}/{kind}': value
            for name, row in scores.items()
            for (title, kind), value in row.items()
        }

    def _draw(self, query: Described, ranking: np.ndarray, relevant: list, database: Described):
        """Draw some queries and the images that the last descriptor ranks first for them."""
        chosen = spread(len(ranking), self.num_drawn)
        kept = [[i for i in ranking[q] if i < len(database.dataset)][:5] for q in chosen]
        shown = min(map(len, kept))
        if not shown:
            return
        wanted = [sample_pixels(query.dataset[q]) for q in chosen]
        found = [[sample_pixels(database.dataset[i]) for i in row[:shown]] for row in kept]
        is_right = [
            [i in relevant[q] for i in r[:shown]] for q, r in zip(chosen, kept, strict=True)
        ]
        picture = draw_ranking(np.stack(wanted), np.array(found), np.array(is_right))
        self.runner.visualizer.add_image('ranking', picture)


def _relevant(labels: Tensor, bank_labels: Tensor, title: str) -> list[set[int]]:
    """(Q,) and (M,) labels -> indices of the database images that are relevant to each query."""
    members = {}
    for index, label in enumerate(bank_labels.tolist()):
        members.setdefault(label, set()).add(index)
    members.pop(NOBODY, None)
    lost = [label for label in labels.tolist() if label not in members]
    if lost:
        raise ValueError(
            f'{len(lost)} of {len(labels)} queries of {title!r}, the first with label {lost[0]}, '
            'have no counterpart in the database.'
        )
    return [members[label] for label in labels.tolist()]


def layer_names(backbone) -> tuple[str, ...]:
    """Names of a backbone's feature maps, counted from 1: layers of a ViT, stages of others."""
    kind = 'layer' if hasattr(backbone, 'layers') else 'stage'
    return tuple(f'{kind} {index + 1}' for index in backbone.out_indices)


def score_table(scores: dict[str, dict[tuple[str, str], float]], title: str) -> Table:
    """A table with a row for each descriptor and a column for each query set and measure."""
    table = Table(title=f'{title}, in percent')
    table.add_column('descriptor')
    for queries, kind in next(iter(scores.values())):
        table.add_column(f'{queries}\n{kind}', justify='right')
    for name, row in scores.items():
        table.add_row(name, *(f'{value:.1f}' for value in row.values()))
    return table

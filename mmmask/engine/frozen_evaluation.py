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
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mmmask.evaluation import (
    accuracy,
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
    unwrap,
)
from mmmask.registry import DATASETS, LOOPS
from mmmask.visualization import draw_ranking, sample_pixels

NOBODY = -1  # label of distractors
RECALLS = (1, 5)


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
    """

    def __init__(self, runner, dataloader: dict, evaluator=()) -> None:
        self.options = {key: dataloader.get(key, 0) for key in ('batch_size', 'num_workers')}
        self.dataset = DATASETS.build(dataloader['dataset'])
        loader = DataLoader(self.dataset, collate_fn=default_collate, **self.options)
        super().__init__(runner, loader)

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

    def describe(self, dataset: dict | Dataset, describe, title: str) -> Described:
        """Descriptors of all images of a data set; see :func:`mmmask.evaluation.describe_dataset`.

        Images without labels get the label of distractors.
        """
        dataset = DATASETS.build(dataset) if isinstance(dataset, dict) else dataset
        descriptors, labels = describe_dataset(
            unwrap(self.runner.model), dataset, describe, title, **self.options
        )
        if labels is None:
            labels = torch.full((len(dataset),), NOBODY)
        return Described(dataset, descriptors, labels)

    def describe_labelled(self, bank: Dataset) -> tuple[Described, Described]:
        """A bank and the images of the loader: the mean of the patches, and a class token if any.

        Raises:
            ValueError: if images have no labels.
        """
        poolings = ('cls', 'mean') if self.num_extra_tokens else ('mean',)
        describe = pooled(unwrap(self.runner.model), *poolings)
        sides = self.describe(bank, describe, 'bank'), self.describe(self.dataset, describe, 'test')
        for name, part in zip(('test_cfg.bank', 'test_dataloader'), sides, strict=True):
            if (part.labels == NOBODY).any():
                raise ValueError(f'the images of {name} have no labels: set with_label=True.')
        return sides


@LOOPS.register_module()
class KNNTestLoop(FrozenTestLoop):
    """k-nearest-neighbour accuracy of a frozen backbone, for each way of pooling and each k.

    The class token and the mean of the patch tokens are reported separately. Masked image modelling
    has low k-NN accuracy by nature: use it to rank checkpoints of one run, not methods.

    Args:
        dataloader: config of a loader of labelled images to classify.
        bank: config of the labelled data set whose images vote.
        k, temperature: see :func:`mmmask.evaluation.knn_classify`.

    Raises:
        ValueError: if images have no labels or the bank has fewer than k images.
    """

    def __init__(
        self,
        runner,
        dataloader: dict,
        evaluator=(),
        *,
        bank: dict,
        k: tuple[int, ...] = (20, 200),
        temperature: float = 0.07,
    ) -> None:
        super().__init__(runner, dataloader)
        self.bank, self.k, self.temperature = bank, k, temperature

    def measure(self) -> dict[str, float]:
        """Top-1 in percent, by ``knn<k>/<pooling>``."""
        bank_set = DATASETS.build(self.bank)
        if max(self.k) > len(bank_set):
            raise ValueError(
                f'test_cfg.k={tuple(self.k)} asks for more neighbours than the {len(bank_set)} '
                'images of test_cfg.bank: reduce it, for example --cfg-options test_cfg.k="[5]".'
            )
        bank, query = self.describe_labelled(bank_set)

        def top1(k: int, pooling: str) -> float:
            sides = bank.descriptors[pooling], bank.labels, query.descriptors[pooling]
            return accuracy(knn_classify(*sides, k, self.temperature), query.labels)

        return {f'knn{k}/{part}': top1(k, part) for k in self.k for part in bank.descriptors}


@LOOPS.register_module()
class LinearProbeTestLoop(FrozenTestLoop):
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
        super().__init__(runner, dataloader)
        self.bank, self.probe_options = bank, options

    def measure(self) -> dict[str, float]:
        """Top-1 in percent by ``linear/<pooling>``, and that of the most frequent class."""
        bank, query = self.describe_labelled(DATASETS.build(self.bank))
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
        super().__init__(runner, dataloader)
        self.queries, self.distractors, self.whitening = queries, distractors, whitening
        self.top, self.num_drawn = top, num_drawn

    def measure(self) -> dict[str, float]:
        """Scores in percent, by ``<queries>/<descriptor>/mAP`` and ``.../R@<k>``."""
        describe = partial(
            describe_layers,
            layers=layer_names(self.backbone),
            num_extra_tokens=self.num_extra_tokens,
        )
        described = partial(self.describe, describe=describe)
        database = described(self.dataset, title='database')
        bank, labels = database.descriptors, database.labels
        if self.distractors:
            extra = described(self.distractors, title='distractors').descriptors
            bank = {name: torch.cat([part, extra[name]]) for name, part in bank.items()}
            padding = labels.new_full((len(extra[next(iter(extra))]),), NOBODY)
            labels = torch.cat([labels, padding])
        whiten = dict.fromkeys(bank, lambda descriptors: descriptors)
        if self.whitening:
            unrelated = described(self.whitening, title='whitening').descriptors
            whiten = {name: fit_whitening(part) for name, part in unrelated.items()}

        scores = {}
        for title, dataset in self.queries.items():
            query = described(dataset, title=title)
            relevant = _relevant(query.labels, labels, title)
            for name, part in query.descriptors.items():
                ranking = rank(whiten[name](bank[name]), whiten[name](part), self.top)
                row = scores.setdefault(name, {})
                row[title, 'mAP'] = 100 * mean_average_precision(ranking, relevant)
                for k in RECALLS:
                    row[title, f'R@{k}'] = 100 * recall_at(ranking, relevant, k)
            if self.num_drawn and title == next(iter(self.queries)):
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
        chosen = np.linspace(0, len(ranking) - 1, min(self.num_drawn, len(ranking))).astype(int)
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

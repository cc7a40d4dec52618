"""Scores of frozen features before and after a pre-training, which runs as a process."""

import os
import re
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import mean
from typing import NamedTuple

import torch
import torch.nn.functional as F
from mmengine.config import Config, ConfigDict
from mmengine.dataset import default_collate
from mmengine.registry import init_default_scope
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.utils.data import DataLoader

from mmmask.apis.visualize import build_model
from mmmask.doctor import HERE, ROOT
from mmmask.evaluation import accuracy, extract_features, knn_classify, linear_probe
from mmmask.registry import DATASETS

LOG_LINE = re.compile(
    r'Epoch\(train\)\s+\[(\d+)\]\[\s*\d+/\d+\].*?eta: (.*?)  .*?\bloss: ([-\d.naif]+)'
)

REGULARIZATIONS = (1.0, 0.1, 0.01)  # weaker ones take minutes to converge
NUM_DRAWS = 20
FEW_REGULARIZATION = 0.1  # a few images leave none to choose it on

Scores = dict[str, dict[str, float]]

console = Console()


def last_checkpoint(folder: Path) -> Path:
    """The checkpoint that a finished run names as its last one."""
    return Path((folder / 'last_checkpoint').read_text().strip())


class Features(NamedTuple):
    """(T, D) features to fit classifiers on and (M, D) ones to classify, with their labels."""

    bank: Tensor
    bank_labels: Tensor
    query: Tensor
    labels: Tensor


def read_features(cfg: Config, model: nn.Module, seed: int, pooling: str) -> dict[str, Features]:
    """Raw pixels, features of the backbone as the seed initializes it, and those of ``model``."""
    extract = partial(extract_features, pooling=pooling)
    extractors = {
        'raw pixels': raw_pixels,
        'random backbone': partial(extract, build_model(cfg, seed=seed)),
        'pre-trained backbone': partial(extract, model),
    }
    loaders = [
        DataLoader(part, batch_size=256, collate_fn=default_collate) for part in labelled_sets(cfg)
    ]
    features = {}
    for name, read in extractors.items():
        with console.status(f'reading {name} ...'):
            features[name] = Features(*(part for loader in loaders for part in read(loader)))
    return features


def find_hook(cfg: Config, kind: str) -> ConfigDict | None:
    """The config of the first hook of a type, such as ``'mmmask.OnlineKNNHook'``."""
    hooks = [*cfg.get('custom_hooks', []), *cfg.get('default_hooks', {}).values()]
    return next((hook for hook in hooks if hook and hook.get('type') == kind), None)


def labelled_sets(cfg: Config) -> tuple:
    """The labelled data sets of a config's ``OnlineKNNHook``: bank, query.

    Raises:
        ValueError: if the config has no such hook.
    """
    init_default_scope(cfg.get('default_scope', 'mmmask'))
    hook = find_hook(cfg, 'mmmask.OnlineKNNHook')
    if hook is None:
        raise ValueError(
            f'{cfg.filename} has no mmmask.OnlineKNNHook, so there is no labelled data to score '
            'features on: add the hook with its bank and query to custom_hooks.'
        )
    return DATASETS.build(hook.bank), DATASETS.build(hook.query)


def score_features(features: Mapping[str, Features]) -> Scores:
    """Top-1 accuracy in percent of classifiers, by name of the features.

    ``five labels`` is a linear classifier that is fitted on five images of each class, averaged
    over ``NUM_DRAWS`` random choices of them.
    """
    scores = {}
    for name, (bank, bank_labels, query, labels) in features.items():
        with console.status(f'evaluating {name} ...'):
            neighbours = knn_classify(bank, bank_labels, query, k=min(20, len(bank)))
            few = [
                linear_probe(bank[chosen], bank_labels[chosen], query, labels, FEW_REGULARIZATION)
                for chosen in (few_of_each(bank_labels, seed=draw) for draw in range(NUM_DRAWS))
            ]
            scores[name] = {
                'k-NN': accuracy(neighbours, labels),
                'linear probe': linear_probe(
                    bank, bank_labels, query, labels, REGULARIZATIONS
                ).accuracy,
                'five labels': mean(probe.accuracy for probe in few),
            }
    return scores


def few_of_each(labels: Tensor, number: int = 5, seed: int = 0) -> Tensor:
    """(T,) labels -> indices of ``number`` random images of each class, or of all it has."""
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    chosen = [order[labels[order] == label][:number] for label in labels.unique()]
    return torch.cat(chosen)


def thumbnails(images: Tensor) -> Tensor:
    """(B, 3, H, W) of any type -> their pixels at 32×32 px, (B, 3072)."""
    return F.interpolate(images.float(), size=(32, 32), mode='area').flatten(1)


def raw_pixels(loader: DataLoader) -> tuple[Tensor, Tensor]:
    """Images -> their pixels at 32×32 px, (M, 3072), and their labels, (M,)."""
    pixels, labels = [], []
    for batch in loader:
        pixels.append(thumbnails(batch['inputs']))
        labels += [sample.gt_label for sample in batch['data_samples']]
    return torch.cat(pixels), torch.cat(labels)


def run_training(
    config: str | os.PathLike,
    work_dir: str | os.PathLike,
    seed: int,
    options: Sequence[str] = (),
    resume: bool = False,
    pretrained: str | os.PathLike | None = None,
) -> list[float]:
    """Run ``tools/train.py`` in a process, and return the last logged loss of each epoch.

    Raises:
        SystemExit: with the end of the output, if the training fails.
    """
    script = ROOT / 'tools' / 'train.py'
    arguments = [_shorten(config), '--work-dir', str(work_dir), '--seed', str(seed)]
    if resume:
        arguments.append('--resume')
    if pretrained:
        arguments += ['--pretrained', str(pretrained)]
    if options:
        arguments += ['--cfg-options', *options]
    command = f'$ python {_shorten(script)} {" ".join(arguments)}'
    console.print(command, highlight=False, soft_wrap=True)
    environment = os.environ | dict(
        PYTHONUNBUFFERED='1',
        PYTHONPATH=os.pathsep.join(filter(None, [str(HERE.parent), os.getenv('PYTHONPATH')])),
    )
    losses, tail, printed = {}, deque(maxlen=40), 0.0
    with subprocess.Popen(
        [sys.executable, str(script), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    ) as process:
        for line in process.stdout:
            tail.append(line)
            if step := LOG_LINE.search(line):
                epoch, left, loss = step.groups()
                losses[int(epoch)] = float(loss)
                if time.monotonic() - printed > 5:
                    printed = time.monotonic()
                    console.print(f'epoch {epoch:>3}   loss {loss}   {left} left')
            elif 'knn_top1' in line or 'Unreadable' in line:
                console.print(line.split(' - ')[-1].strip(), soft_wrap=True)
    if process.returncode:
        sys.exit(f'{"".join(tail)}\nThe training failed; the end of its output is above.')
    return list(losses.values())


def score_table(scores: Scores) -> Table:
    """A row for each kind of features, and a column for each classifier."""
    table = Table(title='Top-1 accuracy in percent')
    table.add_column('features')
    for metric in next(iter(scores.values())):
        table.add_column(metric, justify='right')
    for name, values in scores.items():
        cells = [f'{value:.1f}' for value in values.values()]
        table.add_row(name, *cells, style='bold' if name == 'pre-trained backbone' else None)
    return table


def _shorten(path: str | os.PathLike) -> str:
    """The path as a user would type it."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith('..') else relative

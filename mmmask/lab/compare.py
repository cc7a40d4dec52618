"""How good frozen features are, and which of several pre-trainings learns the better ones."""

import json
import os
import re
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import mean

import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.dataset import default_collate
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.utils.data import DataLoader

import mmmask
from mmmask.apis.visualize import build_model
from mmmask.evaluation import accuracy, extract_features, knn_classify, linear_probe
from mmmask.registry import DATASETS

PACKAGE = Path(mmmask.__file__).parent
# An installed package carries configs and tools; in a checkout they lie beside it.
ROOT = PACKAGE / '.mim' if (PACKAGE / '.mim').is_dir() else PACKAGE.parent
LOG_LINE = re.compile(
    r'Epoch\(train\)\s+\[(\d+)\]\[\s*\d+/\d+\].*?eta: (.*?)  .*?\bloss: ([-\d.naif]+)'
)

Scores = dict[str, dict[str, float]]

console = Console()


def compare_runs(
    configs: Sequence[str | os.PathLike],
    seeds: Sequence[int] = (0,),
    work_dir: str | os.PathLike = 'work_dirs/compare',
    options: Sequence[str] = (),
) -> dict[str, list[Scores]]:
    """Pre-train each config with each seed, and score the backbones before and after.

    A run that is done is not repeated and one that was cut off is resumed, so that the command can
    be given again after an interruption, or with more seeds. The scores of every run stay in its
    ``scores.json``.

    Args:
        configs: pre-training configs with an ``OnlineKNNHook``, whose data sets are scored on.
        seeds: of weights, order, augmentation and masks; the same ones for every config.
        work_dir: one folder per run is made in it.
        options: ``KEY=VALUE`` overrides for every config.

    Returns:
        For each config name the scores of each seed; see :func:`score_features`.
    """
    MMLogger.get_current_instance().setLevel('WARNING')
    results = {}
    for config in map(Path, configs):
        results[config.stem] = runs = []
        for seed in seeds:
            folder = Path(work_dir) / f'{config.stem}_seed{seed}'
            path = folder / 'scores.json'
            if not path.is_file():
                run_training(config, folder, seed, options, resume=True)
                checkpoint = Path((folder / 'last_checkpoint').read_text().strip())
                path.write_text(json.dumps(score_run(folder / config.name, checkpoint, seed)))
            runs.append(json.loads(path.read_text()))
    return results


def score_run(config: str | os.PathLike, checkpoint: str | os.PathLike, seed: int) -> Scores:
    """Score pixels, the backbone as the seed initialises it, and the one in a checkpoint."""
    cfg = Config.fromfile(config)
    extractors = {
        'raw pixels': raw_pixels,
        'random backbone': backbone_features(build_model(cfg, seed=seed)),
        'pre-trained backbone': backbone_features(build_model(cfg, checkpoint)),
    }
    return score_features(*labelled_sets(cfg), extractors)


def labelled_sets(cfg: Config) -> tuple:
    """The labelled data sets that a config's ``OnlineKNNHook`` uses: bank, query.

    Raises:
        ValueError: if the config has no such hook.
    """
    init_default_scope(cfg.get('default_scope', 'mmmask'))
    hooks = [*cfg.get('custom_hooks', []), *cfg.get('default_hooks', {}).values()]
    for hook in hooks:
        if hook and hook.get('type') == 'mmmask.OnlineKNNHook':
            return DATASETS.build(hook.bank), DATASETS.build(hook.query)
    raise ValueError(
        f'{cfg.filename} has no mmmask.OnlineKNNHook, so there is no labelled data to score '
        'features on: add the hook with its bank and query to custom_hooks.'
    )


def score_features(
    train, val, extractors: Mapping[str, Callable[[DataLoader], tuple[Tensor, Tensor]]]
) -> Scores:
    """k-NN and linear-probe top-1 in percent, learnt on train and asked on val, by extractor."""
    scores = {}
    for name, extract in extractors.items():
        with console.status(f'evaluating {name} ...'):
            (bank, bank_labels), (query, labels) = (
                extract(DataLoader(part, batch_size=256, collate_fn=default_collate))
                for part in (train, val)
            )
            neighbours = knn_classify(bank, bank_labels, query, k=min(20, len(bank)))
            probed = linear_probe(bank, bank_labels, query)
            scores[name] = {
                'k-NN': accuracy(neighbours, labels),
                'linear probe': accuracy(probed, labels.cpu()),
            }
    return scores


def backbone_features(model) -> Callable[[DataLoader], tuple[Tensor, Tensor]]:
    """The extractor of a model's mean-pooled last tap."""
    return lambda loader: extract_features(model, loader)


def raw_pixels(loader: DataLoader) -> tuple[Tensor, Tensor]:
    """Images as (M, 3072) vectors, shrunk to 32×32 px, and their labels."""
    pixels, labels = [], []
    for batch in loader:
        pixels.append(F.interpolate(batch['inputs'].float(), size=(32, 32), mode='area').flatten(1))
        labels += [sample.gt_label for sample in batch['data_samples']]
    return torch.cat(pixels), torch.cat(labels)


def run_training(
    config: str | os.PathLike,
    work_dir: str | os.PathLike,
    seed: int,
    options: Sequence[str] = (),
    resume: bool = False,
) -> list[float]:
    """Run ``tools/train.py`` as anybody would, and return the loss at the end of each epoch.

    Raises:
        SystemExit: with the end of its output, if it fails.
    """
    script = ROOT / 'tools' / 'train.py'
    arguments = [_shorten(config), '--work-dir', str(work_dir), '--seed', str(seed)]
    if resume:
        arguments.append('--resume')
    if options:
        arguments += ['--cfg-options', *options]
    command = f'$ python {_shorten(script)} {" ".join(arguments)}'
    console.print(command, highlight=False, soft_wrap=True)
    environment = os.environ | dict(
        PYTHONUNBUFFERED='1',
        PYTHONPATH=os.pathsep.join(filter(None, [str(PACKAGE.parent), os.getenv('PYTHONPATH')])),
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
        sys.exit(f'{"".join(tail)}\nThe training failed; above is the end of its output.')
    return list(losses.values())


def score_table(scores: Scores) -> Table:
    """The scores of one run, a row for each kind of features."""
    table = Table(title='Top-1 accuracy in percent')
    table.add_column('features')
    for column in next(iter(scores.values())):
        table.add_column(column, justify='right')
    for name, row in scores.items():
        style = 'bold' if name == 'pre-trained backbone' else None
        table.add_row(name, *(f'{value:.1f}' for value in row.values()), style=style)
    return table


def comparison_table(results: Mapping[str, Sequence[Scores]], seeds: Sequence[int]) -> Table:
    """The scores of several runs: of each config the mean over the seeds, and each of them."""
    first = next(iter(results.values()))
    rows = {name: [run[name] for run in first] for name in ('raw pixels', 'random backbone')}
    rows |= {name: [run['pre-trained backbone'] for run in runs] for name, runs in results.items()}
    table = Table(title=f'Top-1 accuracy in percent: mean (seeds {", ".join(map(str, seeds))})')
    table.add_column('features')
    metrics = list(first[0]['raw pixels'])
    for metric in metrics:
        table.add_column(metric, justify='right')
    for name, runs in rows.items():
        cells = []
        for metric in metrics:
            values = [run[metric] for run in runs]
            each = f' ({", ".join(f"{value:.1f}" for value in values)})' if len(values) > 1 else ''
            cells.append(f'{mean(values):.1f}{each}')
        table.add_row(name, *cells)
    return table


def _shorten(path: str | os.PathLike) -> str:
    """The path as one would type it here."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith('..') else relative

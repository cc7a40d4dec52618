"""What ``finetune``, ``detect`` and ``segment`` share: a recipe for own data, and its training."""

import os
from collections.abc import Sequence
from pathlib import Path

from . import running
from .running import AUTOMATIC, GIVEN, Value

FOLDER = 'downstream/folder'


def train(
    command: str,
    recipe: str,
    data,
    out: str | os.PathLike,
    pretrained: str | os.PathLike | None,
    val_data,
    epochs: int | None,
    batch_size: int | None,
    lr: float | None,
    workers: int | None,
    devices: int | None,
    seed: int,
    resume: bool,
    dry_run: bool,
    cfg_options: dict | None,
) -> Path | None:
    """Train a recipe of ``configs/downstream/folder`` on own data.

    Args:
        command: name of the command.
        recipe: name of the config.
        data, out, ...: as in :func:`mmmask.finetune`.
    """
    from mmmask.apis.length import set_length
    from mmmask.apis.own_data import name_data
    from mmmask.apis.validate import read_config

    out = Path(out).expanduser()
    if not dry_run:
        running.refuse_second_run(out, resume)
    devices = running.number_of_devices(devices)
    workers = running.number_of_workers(workers, devices.value)
    start = pretrained and running.checkpoint_of(pretrained)
    cfg = read_config(running.ROOT / 'configs' / FOLDER / f'{recipe}.py')
    set_length(cfg, epochs)
    with running.annotations(out, dry_run) as folder:
        name_data(cfg, running.places(data), running.places(val_data), start, folder)
        running.set_rate(cfg, lr)
        running.set_loaders(cfg, workers.value, batch_size)
        cfg.work_dir = str(out)
        cfg.merge_from_dict({'randomness.seed': seed})
        if start:
            running.start_from(cfg, start)
        running.override(cfg, cfg_options)
        model, backbone = (one.type.rpartition('.')[2] for one in (cfg.model, cfg.model.backbone))
        running.print_values(
            f'mmmask {command}: {recipe}',
            dict(
                model=Value(model, 'data'),
                backbone=Value(backbone, f'of {start}' if start else 'random weights'),
                data=Value(' '.join(running.places(data)), ''),
                device=Value(running.name_of_device(), AUTOMATIC),
                devices=devices,
                batch_size=Value(
                    cfg.train_dataloader.batch_size, GIVEN if batch_size else 'recipe'
                ),
                workers=workers,
                epochs=Value(cfg.train_cfg.max_epochs, GIVEN if epochs else 'recipe'),
                lr=Value(running.peak_rate(cfg, devices.value), GIVEN if lr else 'recipe'),
                seed=Value(seed, ''),
            ),
        )
        return running.finish(cfg, out, command, devices.value, workers, resume, dry_run)


def several(data: Sequence, command: str, form: str) -> None:
    """Refuse one path where a command takes several, as from Python.

    Raises:
        ValueError: naming the form.
    """
    if isinstance(data, str | os.PathLike) or len(data) < 2:
        raise ValueError(f'data={data!r}: {command} takes {form}.')

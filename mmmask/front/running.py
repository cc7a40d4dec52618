"""What all trainings share: options, the values that are printed, the config file, the launch.

A command writes the whole config into its folder and then runs that file exactly as
``tools/train.py`` does. So both run the same training.
"""

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from mmmask.doctor import ROOT

CONFIG = 'config.py'
LOADERS = [f'{split}_dataloader' for split in ('train', 'val', 'test')]
OPTIONS = {  # by the keys that they set
    'train_dataloader.batch_size': 'batch_size',
    'train_cfg.max_epochs': 'epochs',
    'optim_wrapper.optimizer.lr': 'lr',
    'randomness.seed': 'seed',
    'work_dir': 'out',
    'load_from': 'pretrained',
    'resume': 'resume',
} | {f'{loader}.num_workers': 'workers' for loader in LOADERS}
AUTOMATIC, GIVEN = 'automatic', 'given'


class Value(NamedTuple):
    """A value of a run, and where it comes from."""

    value: object
    source: str = GIVEN


def checkpoint_of(path: str | os.PathLike) -> str:
    """A checkpoint, or the newest intact one of the folder of a training.

    Names of a hub and folders of Hugging Face's ``save_pretrained`` stay as they are.

    Raises:
        FileNotFoundError: if the folder has no checkpoint.
    """
    if not os.path.isdir(path) or os.path.isfile(os.path.join(path, 'config.json')):
        return str(path)
    from logging import getLogger

    from mmmask.engine.hooks.durable_checkpoint import find_intact_checkpoint

    found = find_intact_checkpoint(path, getLogger(__name__))
    if found is None:
        raise FileNotFoundError(f'{path} is a folder without a checkpoint of a training.')
    return found


def number_of_devices(devices: int | None) -> Value:
    """The given number of processes, or one for each GPU.

    Raises:
        ValueError: if it is not positive or there are fewer GPUs.
    """
    import torch

    gpus = torch.cuda.device_count()
    if devices is None:
        return Value(gpus or 1, AUTOMATIC)
    if devices < 1 or (gpus and devices > gpus):
        raise ValueError(f'devices={devices} must be from 1 to {gpus or "the number of cores"}.')
    return Value(devices)


def name_of_device() -> str:
    """The first GPU, or the processor with its cores."""
    import torch

    from mmmask.engine.optimizers.processor import available_cores

    if torch.cuda.is_available():
        return torch.cuda.get_device_name(0)
    return f'CPU, {available_cores()} cores'


def number_of_workers(workers: int | None, devices: int) -> Value:
    """The given number, or the cores of each process, at most 8.

    Raises:
        ValueError: if it is negative.
    """
    from mmmask.engine.optimizers.processor import available_cores

    if workers is None:
        return Value(max(1, min(8, available_cores() // devices)), AUTOMATIC)
    if workers < 0:
        raise ValueError(f'workers={workers} must be 0 or more.')
    return Value(workers)


def set_rate(cfg, lr: float | None) -> None:
    """Set a peak learning rate, which then is not scaled to the batch.

    Raises:
        ValueError: if it is not positive.
    """
    if lr is None:
        return
    if not lr > 0:
        raise ValueError(f'lr={lr:g} must be positive.')
    cfg.optim_wrapper.optimizer.lr = lr
    cfg.pop('auto_scale_lr', None)


def peak_rate(cfg, devices: int) -> str:
    """The peak learning rate with its arithmetic."""
    from copy import deepcopy

    from mmmask.apis.train import scale_learning_rate

    return scale_learning_rate(deepcopy(cfg), devices).partition('learning rate ')[2]


def set_loaders(cfg, workers: int, batch_size: int | None = None) -> None:
    """Set the workers of all loaders, and the batch size of the training.

    Raises:
        ValueError: if there is no image in a step.
    """
    for loader in LOADERS:
        if cfg.get(loader):
            cfg[loader].num_workers = workers
    if batch_size is not None:
        if batch_size < 1:
            raise ValueError(f'batch_size={batch_size} must be 1 or more.')
        cfg.train_dataloader.batch_size = batch_size


def leave_out_tensorboard(cfg) -> None:
    """Leave TensorBoard out where it is not installed.

    It comes after the overrides, which name a tracker by its place in the list.
    """
    from importlib.util import find_spec

    visualizer = cfg.get('visualizer')
    if find_spec('tensorboard') is None and isinstance(visualizer, dict):
        visualizer.vis_backends = [
            one
            for one in visualizer.get('vis_backends') or []
            if not isinstance(one, dict) or one.get('type') != 'TensorboardVisBackend'
        ]


def override(cfg, options: Mapping | None) -> None:
    """Put the values of ``--cfg-options`` into a config.

    Raises:
        ValueError: for a value that has an option of its own, from which others follow, or a key
            that does not fit the config.
    """
    from mmmask.apis.config_options import merge_options
    from mmmask.config_text import flatten

    options = dict(options or {})
    for key in flatten(options):
        if key in OPTIONS:
            name = OPTIONS[key]
            raise ValueError(
                f'cfg_options: {key} has an option of its own, and other values follow from it: '
                f'give {name}, which is --{name.replace("_", "-")} on the command line.'
            )
    merge_options(cfg, options)


def refuse_second_run(out: Path, resume: bool) -> None:
    """Refuse to train into the folder of another training.

    Raises:
        FileExistsError, FileNotFoundError: saying what to do.
    """
    trained = (out / 'last_checkpoint').is_file()
    if trained and not resume:
        raise FileExistsError(
            f'{out} has a training already: choose another --out, or --resume to continue it.'
        )
    if resume and not trained:
        raise FileNotFoundError(f'--resume: {out} has no training that could be continued.')


def print_values(title: str, values: Mapping[str, Value]) -> None:
    """Print the values of a run, one per line, with their sources."""
    print(title)
    for name, (value, source) in values.items():
        print(f'  {name:<15} {value!s:<40} {source}'.rstrip())


def write_config(cfg, out: Path, command: str) -> Path:
    """Write a whole config into the folder of a run; it carries the mark of mmmask.

    Raises:
        FileExistsError: if another file has this name.
    """
    from mmmask.outputs import MARK, OutputFolder

    leave_out_tensorboard(cfg)
    text = f'# Config of `mmmask {command}`, {MARK}.\n{cfg.pretty_text}'
    with OutputFolder(out).file(CONFIG) as path:
        path.write_text(text)
    return out / CONFIG


def run(config: Path, devices: int, resume: bool, workers: Value) -> Path:
    """Train with a config file, and return the last checkpoint."""
    from mmmask.apis.train import load_config, train
    from mmmask.apis.validate import read_config

    options = {}
    if workers.source == GIVEN:  # otherwise at most the cores of the machine that runs the file
        cfg = read_config(config)
        options = {f'{one}.num_workers': workers.value for one in LOADERS if cfg.get(one)}
    if devices > 1:
        _run_processes(config, devices, resume, options)
    else:
        train(load_config(config, options, resume='auto' if resume else None, compiling='auto'))
    return Path(checkpoint_of(config.parent))


def _run_processes(config: Path, devices: int, resume: bool, options: Mapping) -> None:
    """Run ``tools/dist_train.sh``.

    Raises:
        SystemExit: with its exit code, if it fails.
    """
    words = ['bash', str(ROOT / 'tools' / 'dist_train.sh'), str(config), str(devices)]
    words += ['--resume'] if resume else []
    words += ['--cfg-options', *(f'{key}={value}' for key, value in options.items())] * bool(
        options
    )
    print('$', shlex.join(words), flush=True)
    ended = subprocess.run(words, env=os.environ | dict(PYTHON=sys.executable), check=False)
    if ended.returncode:
        raise SystemExit(ended.returncode)


def rehearse(cfg, devices: int) -> None:
    """Try all that a run needs, in one process, and write nothing."""
    from mmmask.apis.train import load_config
    from mmmask.apis.train import rehearse as try_run

    leave_out_tensorboard(cfg)
    with TemporaryDirectory() as folder:
        path = Path(folder, CONFIG)
        path.write_text(cfg.pretty_text)
        try_run(load_config(path, compiling='auto'))
    if devices > 1:
        print(f'The rehearsal ran in one process; the training will run in {devices}.')


def places(data: str | Sequence[str] | None) -> list[str] | None:
    """One path or several as a list of paths, or None."""
    if data is None:
        return None
    return [os.fspath(data)] if isinstance(data, str | os.PathLike) else [*map(os.fspath, data)]


def start_from(cfg, pretrained: str | os.PathLike) -> None:
    """Load the backbone of a checkpoint, or of the folder of a training, before the training."""
    from mmmask.apis.train import load_weights

    load_weights(cfg, checkpoint_of(pretrained))


def count_images(cfg) -> int:
    """The number of images that a config trains on."""
    from mmmask.registry import DATASETS

    return len(DATASETS.build(dict(cfg.train_dataloader.dataset, pipeline=[])))


def finish(
    cfg, out: Path, command: str, devices: int, workers: Value, resume: bool, dry_run: bool
) -> Path | None:
    """Rehearse, or write the config and train; see :func:`run`."""
    if dry_run:
        return rehearse(cfg, devices)
    config = write_config(cfg, out, command)
    print(f'  {"config":<15} {config}', flush=True)
    checkpoint = run(config, devices, resume, workers)
    print(f'The checkpoint is {checkpoint}')
    return checkpoint


@contextmanager
def annotations(out: Path, dry_run: bool) -> Iterator[Path]:
    """The folder that gets annotation files: that of the run, or a temporary one."""
    if not dry_run:
        yield out / 'data'
        return
    with TemporaryDirectory() as folder:
        yield Path(folder)

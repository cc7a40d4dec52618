"""From a config file to a running training."""

import ctypes
import gc
import logging
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.dist import get_world_size
from mmengine.logging import print_log
from mmengine.registry import RUNNERS, init_default_scope
from mmengine.runner import Runner

from mmmask.checkpoints import CheckpointError, find_pretrained, read_checkpoints_as_data
from mmmask.command_line import AMP_CHOICES, SHARDS, expand_home
from mmmask.engine.hooks.durable_checkpoint import find_intact_checkpoint
from mmmask.engine.hooks.preemption import PREEMPTED
from mmmask.engine.optimizers.processor import available_cores, multiplies_bf16
from mmmask.engine.runner import BriefRunner

from .classes import image_folders, share_classes
from .config_options import merge_options
from .data_checks import check_data
from .length import set_length
from .out_of_memory import explained_memory
from .own_data import name_data
from .rehearsal import RehearsalEnd, RehearsalHook
from .validate import read_config, validate_config


def load_config(
    path: str | os.PathLike,
    options: dict | None = None,
    work_dir: str | None = None,
    seed: int | None = None,
    amp: str = 'auto',
    compiling: str = 'off',
    pretrained: str | None = None,
    allow_missing: bool = False,
    resume: str | None = None,
    launcher: str = 'none',
    data: Sequence[str] | None = None,
    val_data: Sequence[str] | None = None,
    epochs: int | None = None,
    iters: int | None = None,
    test_only: bool = False,
    shard: str = 'none',
) -> Config:
    """Read a config, apply the command line to it and fill in what depends on the machine.

    Args:
        path: config file.
        options: dotted keys and values that override the config's.
        work_dir: where logs and checkpoints go; ``work_dirs/<config name>`` by default.
        seed: replaces the config's.
        amp: ``'bf16'``, ``'fp16'``, ``'off'``, or ``'auto'``, see :func:`set_precision`.
        compiling: ``'on'``, ``'off'`` or ``'auto'``, see :func:`set_compilation`.
        pretrained: checkpoint from which the backbone is loaded, of any layout that mmmask
            recognises; see :func:`mmmask.checkpoints.find_pretrained`.
        allow_missing: accept a ``pretrained`` file that does not fill the whole backbone.
        resume: ``'auto'`` for the latest checkpoint of the work directory, or a checkpoint.
        launcher: ``'none'``, ``'pytorch'``, ``'slurm'`` or ``'mpi'``.
        data, val_data, test_only: the user's data, see :func:`mmmask.apis.own_data.name_data`.
        epochs, iters: length of the run, see :func:`mmmask.apis.length.set_length`.
        shard: what is divided among processes: ``'none'``, the ``'optimizer'``'s state, or
            ``'full'`` for weights and gradients too; see :mod:`mmmask.engine.sharding`.

    Raises:
        mmmask.apis.validate.ConfigError: naming every error of the config.
    """
    path, options = Path(path), expand_home(options or {})
    cfg = read_config(path, options)
    cfg.launcher = launcher
    cfg.work_dir = work_dir or cfg.get('work_dir') or os.path.join('work_dirs', path.stem)
    refuse_file(Path(cfg.work_dir))
    if seed is not None:
        cfg.merge_from_dict({'randomness.seed': seed})
    if resume:
        cfg.resume = True
        cfg.load_from = None if resume == 'auto' else resume
    set_length(cfg, epochs, iters)
    name_data(cfg, data, val_data, pretrained, Path(cfg.work_dir, 'data'), test_only)
    merge_options(cfg, options)  # an option wins over what follows from the data
    if pretrained:
        load_weights(cfg, pretrained, allow_missing)
    if SHARDS[shard]:
        cfg.runner_type = SHARDS[shard]
    validate_config(cfg)
    if cfg.get('optim_wrapper'):
        set_precision(cfg, amp)
        set_compilation(cfg, compiling)
    share_cores(cfg, options)
    set_defaults(cfg)
    return cfg


def load_weights(cfg: Config, pretrained: str, allow_missing: bool = False) -> None:
    """Let a run start from the backbone of a checkpoint; see :func:`load_config`."""
    pretrained = find_pretrained(pretrained)
    hook = dict(type='mmmask.LoadBackboneHook', checkpoint=pretrained, allow_missing=allow_missing)
    cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), hook]
    drop_other_weights(cfg.get('model'))


def refuse_file(work_dir: Path) -> None:
    """Raise a ValueError if a path to a folder leads through a file."""
    for part in (work_dir, *work_dir.parents):
        if part.is_file():
            raise ValueError(
                f'work_dir={str(work_dir)!r}: {part} is a file: choose another folder.'
            )


def drop_other_weights(model: dict | None) -> None:
    """Remove the checkpoints that a model's config names: they would be fetched for nothing."""
    if not isinstance(model, dict):
        return
    backbone = model.get('backbone')
    if isinstance(backbone, dict):
        initial = backbone.get('init_cfg')
        if isinstance(initial, dict) and initial.get('type') == 'Pretrained':
            backbone.init_cfg = None
        if backbone.get('pretrained'):
            backbone.pretrained = None
    if model.get('pretrained'):  # the key of mmseg's models
        model.pretrained = None


def set_precision(cfg: Config, amp: str) -> None:
    """Choose the optimizer wrapper of a mixed-precision run.

    bf16 needs no loss scale; fp16 gets a dynamic one. ``'auto'`` is bf16 where the GPU supports it,
    except that detectors keep the precision of their configs, because mmcv's compiled operators do
    not support bf16. Without a GPU, ``'auto'`` is bf16 for pre-trainings on CPUs with instructions
    for bf16.

    Raises:
        ValueError: if ``amp`` is not one of ``AMP_CHOICES``, or is fp16 without a GPU.
    """
    has_gpu = torch.cuda.is_available()
    if amp not in AMP_CHOICES:
        raise ValueError(f'amp={amp!r} is not one of {AMP_CHOICES}.')
    if amp == 'auto':
        if not has_gpu and cfg.optim_wrapper.get('type') == 'AmpOptimWrapper':
            set_precision(cfg, 'off')
        scope = cfg.get('default_scope') or 'mmmask'
        if has_gpu:
            has_bf16 = torch.cuda.is_bf16_supported() and scope != 'mmdet'
        else:
            has_bf16 = multiplies_bf16() and scope == 'mmmask'
        if not has_bf16 or cfg.optim_wrapper.get('type', 'OptimWrapper') != 'OptimWrapper':
            return
        amp = 'bf16'
    if amp == 'off':
        cfg.optim_wrapper.type = 'OptimWrapper'
        cfg.optim_wrapper.pop('dtype', None)
        cfg.optim_wrapper.pop('loss_scale', None)
        return
    if not has_gpu:
        if amp == 'fp16':
            raise ValueError("amp='fp16' needs a GPU: choose 'bf16' or 'off' on a CPU.")
        set_precision(cfg, 'off')
        cfg.optim_wrapper.type = 'mmmask.ProcessorAmpOptimWrapper'
        return
    cfg.optim_wrapper.type = 'AmpOptimWrapper'
    cfg.optim_wrapper.dtype = 'bfloat16' if amp == 'bf16' else 'float16'
    if amp == 'fp16':
        cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')


def set_compilation(cfg: Config, compiling: str) -> None:
    """Compile the transformer blocks before the training, if asked to or, for auto, on GPUs.

    ``'auto'`` compiles nothing on CPUs, where compiled blocks save a tenth of a step at most
    (docs/performance.md), in detectors and segmentors, whose images vary in size, and for configs
    with mmengine's key ``compile``.
    """
    varies = cfg.get('default_scope') in ('mmdet', 'mmseg')
    auto = torch.cuda.is_available() and not varies and not cfg.get('compile')
    if compiling == 'on' or (compiling == 'auto' and auto):
        hook = dict(type='mmmask.CompileBlocksHook', required=compiling == 'on')
        cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), hook]


def share_cores(cfg: Config, options: Collection[str]) -> None:
    """Without a GPU, use all cores that this process may use, and not more workers than cores.

    Samples do not depend on the number of workers. ``OMP_NUM_THREADS`` and the numbers of workers
    among ``options``, the keys that the user gave, stay as they are.
    """
    if torch.cuda.is_available():
        return
    cores = available_cores()
    if 'OMP_NUM_THREADS' not in os.environ:
        torch.set_num_threads(cores)
        load = os.getloadavg()[0]
        if load > cores > 1:
            print_log(
                f'Other programs keep this machine busy (load {load:.1f}, {cores} cores). Threads '
                'then wait for each other: OMP_NUM_THREADS=1 may be much faster.',
                logger='current',
                level=logging.WARNING,
            )
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        loader = cfg.get(name)
        if loader and f'{name}.num_workers' not in options:
            loader.num_workers = min(loader.get('num_workers', 0), cores)


def set_defaults(cfg: Config) -> None:
    """Fill in what depends on the machine rather than on the method."""
    has_gpu = torch.cuda.is_available()
    # Images of detection and segmentation differ in size until the model pads them.
    collate = 'pseudo' if cfg.get('default_scope') in ('mmdet', 'mmseg') else 'default'
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        loader = cfg.get(name)
        if loader:
            loader.setdefault('collate_fn', dict(type=f'{collate}_collate'))
            loader.setdefault('pin_memory', has_gpu)
            loader.setdefault('persistent_workers', loader.get('num_workers', 0) > 0)
            loader.setdefault('worker_init_fn', dict(type='mmmask.leave_signals_to_the_parent'))
            for folder in image_folders(loader['dataset']) if cfg.get('work_dir') else ():
                report = os.path.join(cfg.work_dir, 'unreadable_images.txt')
                folder.setdefault('report_file', report)
    if not has_gpu:
        # mmengine's default wrapper asks for the GPU of each process.
        wrapper = dict(
            type='mmengine.MMDistributedDataParallel', device_ids=None, broadcast_buffers=False
        )
        cfg.setdefault('model_wrapper_cfg', wrapper)


def scale_learning_rate(cfg: Config, world_size: int) -> str:
    """Multiply the base rate by the real batch over the base batch, and return the arithmetic.

    The real batch is batch per process × processes × accumulation. Without ``auto_scale_lr`` in
    the config, or with its ``enable=False``, the rate is absolute and stays as it is.
    """
    optimizer = cfg.optim_wrapper.optimizer
    batch_size = cfg.train_dataloader.batch_size
    accumulation = cfg.optim_wrapper.get('accumulative_counts', 1)
    batch = batch_size * world_size * accumulation
    sizes = f'{batch_size} x {world_size} processes x {accumulation} accumulated = {batch}'
    scaling = cfg.pop('auto_scale_lr', None)
    if not scaling or not scaling.get('enable', True):
        return f'batch {sizes}; learning rate {optimizer.lr:g} (absolute)'
    base, lr = scaling['base_batch_size'], optimizer.lr
    optimizer.lr = lr * batch / base
    return f'batch {sizes}; learning rate {lr:g} x {batch}/{base} = {optimizer.lr:g}'


def build_runner(cfg: Config) -> tuple[Runner, str]:
    """Build a runner whose learning rate fits the real batch, and return it with the arithmetic."""
    check_devices()
    read_checkpoints_as_data()
    init_default_scope(cfg.get('default_scope', 'mmmask'))
    share_classes(cfg)
    check_data(cfg)
    world_size = _launched_world_size(cfg.launcher)
    trains = cfg.get('optim_wrapper') is not None
    arithmetic = scale_learning_rate(cfg, world_size) if trains else 'nothing is trained'
    if cfg.launcher == 'pytorch':
        join_processes(**cfg.get('env_cfg', {}).get('dist_cfg', {}))
    keep_source(cfg)
    with explained_loggers():
        runner = RUNNERS.build(cfg) if cfg.get('runner_type') else BriefRunner.from_cfg(cfg)
    if get_world_size() != world_size:
        raise RuntimeError(
            f'{get_world_size()} processes run, but the launcher announced {world_size}.'
        )
    print_log(arithmetic, logger='current')
    return runner, arithmetic


def keep_source(cfg: Config) -> None:
    """Keep the resolved config, which a runner writes, from replacing the file that was read.

    The learning rate in it is absolute. If the file lies in the work directory, the resolved config
    gets the name ``<stem>_resolved.py``.
    """
    source = cfg.filename and Path(cfg.filename)
    if source and source.resolve().parent == Path(cfg.work_dir).resolve():
        name = str(source.with_name(f'{source.stem}_resolved.py'))
        object.__setattr__(cfg, '_filename', name)  # Config would make it a key


def check_devices() -> None:
    """Raise a ValueError if GPUs are asked for and PyTorch finds none: it would use the CPU."""
    named = os.environ.get('CUDA_VISIBLE_DEVICES', '')
    if named not in ('', '-1', 'NoDevFiles') and not torch.cuda.is_available():
        raise ValueError(
            f'CUDA_VISIBLE_DEVICES={named!r} names no GPU that PyTorch can use: correct it, or set '
            'it to an empty string to run on the CPU.'
        )


@contextmanager
def explained_loggers() -> Iterator[None]:
    """Turn errors of visualizers' packages, such as a missing login, into ValueErrors."""
    try:
        yield
    except Exception as error:
        package = type(error).__module__.partition('.')[0]
        if package not in ('aim', 'clearml', 'dvclive', 'mlflow', 'neptune', 'wandb'):
            raise
        raise ValueError(
            f'visualizer.vis_backends: {package} cannot start: {error} To do without it, choose '
            "another backend, such as type='LocalVisBackend'."
        ) from error


def join_processes(backend: str = 'nccl', timeout: float | None = None) -> None:
    """Start the process group that torchrun announces. mmengine then uses it.

    When torchrun restarts all processes it keeps its store, with the addresses of the former
    processes. Each start therefore uses its own prefix in the store.

    Args:
        backend: for GPUs; CPUs use gloo.
        timeout: seconds to wait for another process; by default PyTorch's.

    Raises:
        ValueError: if there is no GPU for this process, or the port is in use.
    """
    if torch.cuda.is_available():
        index, count = int(os.environ['LOCAL_RANK']), torch.cuda.device_count()
        if index >= count:
            raise ValueError(
                f'process {index} of this machine has no GPU, because {count} are visible: start '
                f'{count} processes, or name more in CUDA_VISIBLE_DEVICES.'
            )
        torch.cuda.set_device(index)
    else:
        backend = 'gloo'
    try:
        store, rank, world_size = next(torch.distributed.rendezvous('env://'))
    except torch.distributed.DistNetworkError as error:
        place = ':'.join(os.environ.get(name, '?') for name in ('MASTER_ADDR', 'MASTER_PORT'))
        raise ValueError(
            f'the processes cannot connect at {place} ({str(error).splitlines()[0]}): set '
            'MASTER_PORT to a free port, and MASTER_ADDR to the first machine.'
        ) from error
    start = os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')
    torch.distributed.init_process_group(
        backend,
        store=torch.distributed.PrefixStore(f'start_{start}', store),
        rank=rank,
        world_size=world_size,
        timeout=timeout and timedelta(seconds=timeout),
    )


def _launched_world_size(launcher: str) -> int:
    """Number of processes, before the process group exists."""
    variable = dict(pytorch='WORLD_SIZE', slurm='SLURM_NTASKS', mpi='OMPI_COMM_WORLD_SIZE')
    return int(os.environ[variable[launcher]]) if launcher != 'none' else 1


def restarted() -> bool:
    """Whether torchrun or Slurm has restarted this run after it failed or was preempted."""
    return any(
        int(os.environ.get(variable) or 0) > 0
        for variable in ('TORCHELASTIC_RESTART_COUNT', 'SLURM_RESTART_COUNT')
    )


@contextmanager
def launched(launcher: str) -> Iterator[None]:
    """Let a process end with its launcher, and leave the process group before it ends itself.

    A thread of a process group that frees a tensor while the interpreter ends aborts the process,
    although its run is complete. After an error a process keeps its group, as leaving it may wait
    for processes that never answer; the launcher ends them all.
    """
    if launcher != 'none':
        die_with_the_launcher()
    try:
        yield
    except SystemExit as leaving:
        if leaving.code == PREEMPTED:
            traceback.clear_frames(leaving.__traceback__)
            leave_processes()
        raise
    leave_processes()


def leave_processes() -> None:
    """End the process group and its threads, if there is one."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
        gc.collect()  # the group lives as long as the runner, whose parts refer to each other


def die_with_the_launcher() -> None:
    """Let the kernel send SIGTERM when the process that started this one ends, even if killed."""
    set_parent_death_signal = 1  # PR_SET_PDEATHSIG of linux/prctl.h
    if sys.platform == 'linux':
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGTERM)


def rehearse(cfg: Config) -> None:
    """Build all that a run needs, try it on real data, print what was found, and train nothing.

    Nothing is written to the work directory. With ``resume``, the checkpoint is compared with the
    config.

    Raises:
        CheckpointError: if the run cannot resume like this.
        mmmask.apis.rehearsal.RehearsalError: naming every problem that was found.
    """
    cfg.log_level = 'WARNING'
    work_dir = cfg.work_dir
    if cfg.get('resume') and not cfg.get('load_from'):  # the newest one of the work directory
        cfg.load_from = find_intact_checkpoint(work_dir, logging.getLogger(__name__))
        cfg.resume = cfg.load_from is not None
    # A process of a tracker may still write its own log when its run is closed.
    folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    with folder as cfg.work_dir, suppress(RehearsalEnd):
        try:
            train(cfg, end_after_rehearsal=True)
        except CheckpointError as error:  # names commands with the work directory
            raise CheckpointError(str(error).replace(cfg.work_dir, work_dir)) from error


def train(cfg: Config, end_after_rehearsal: bool = False) -> Runner:
    """Run the training that a config from :func:`load_config` describes, after a rehearsal.

    Raises:
        mmmask.apis.out_of_memory.OutOfMemory: if a step or an evaluation does not fit.
        mmmask.apis.rehearsal.RehearsalError: before the training, naming every problem.
    """
    runner, arithmetic = build_runner(cfg)
    runner.register_hook(RehearsalHook(arithmetic, end_after_rehearsal))
    try:
        with explained_memory(runner):
            runner.train()
    finally:
        if end_after_rehearsal:  # a whole training is closed by mmengine
            runner.visualizer.close()
    return runner

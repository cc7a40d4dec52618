"""A pre-training under random kills, signals and torn files, held against an undisturbed one."""

import json
import logging
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.config import Config
from mmengine.logging import HistoryBuffer
from torch import Tensor

from mmmask.apis.train import load_config, train
from mmmask.checkpoints import UNFINISHED, checksum_of, open_checkpoint
from mmmask.engine.hooks.durable_checkpoint import find_intact_checkpoint
from mmmask.engine.hooks.preemption import PREEMPTED
from mmmask.registry import DATASETS

SIGNALS = ('SIGKILL', 'SIGTERM', 'SIGUSR1')
WRITES = ('fsync', 'replace')  # the calls by which a checkpoint comes to be
TEARS = ('truncated', 'a bit flipped', 'removed', 'checksum removed', 'pointer torn', 'left-overs')
MEASURED = ('time', 'memory', 'eta', '_ms')  # parts of names whose values no two runs share


class SoakResult(NamedTuple):
    """What was done to the runs, and what became of them.

    Attributes:
        kills: number of processes that ended by SIGKILL, from outside or within a write.
        stops: number of processes that left with the exit code of preemption.
        faults: how often each kind of fault was injected.
        runs: number of runs that were trained to their end.
        starts: number of processes that trained them.
        seconds: duration of all of it.
        differences: what differs from the undisturbed run; empty if nothing was lost.
    """

    kills: int
    stops: int
    faults: Counter
    runs: int
    starts: int
    seconds: float
    differences: list[str]


def soak_config(
    path: str | os.PathLike, work_dir: str | os.PathLike, images: int, epochs: int
) -> Config:
    """A config made small: few images, no pictures, a checkpoint every third iteration."""
    small = {
        'default_hooks.evolution.num_images': 1,
        'train_cfg.max_epochs': epochs,
        'train_dataloader.batch_size': 8,
        'train_dataloader.num_workers': 0,
        'train_dataloader.dataset.indices': list(range(images)),
        'default_hooks.checkpoint.interval': 3,
        'default_hooks.checkpoint.by_epoch': False,
        'default_hooks.logger.interval': 1,
        'param_scheduler.warmup_epochs': 1,
        'model.backbone.arch.embed_dims': 32,
        'model.backbone.arch.num_layers': 2,
        'model.backbone.arch.num_heads': 2,
        'model.backbone.arch.feedforward_channels': 64,
        'model.neck.in_channels': 32,
        'model.neck.embed_dims': 32,
        'model.neck.depth': 1,
        'model.neck.num_heads': 2,
        'custom_hooks': [dict(type='mmmask.NonFiniteLossHook')],
        'visualizer.vis_backends': [dict(type='LocalVisBackend')],
        'log_level': 'WARNING',
    }
    hooks = Config.fromfile(path).default_hooks
    options = {
        key: value
        for key, value in small.items()
        if not key.startswith('default_hooks') or key.split('.')[1] in hooks
    }
    return load_config(path, options, work_dir=str(work_dir), amp='off', resume='auto')


def soak(
    config: str | os.PathLike,
    work_dir: str | os.PathLike,
    kills: int,
    seed: int = 0,
    images: int = 64,
    epochs: int = 3,
    tell: Callable[[str], None] = print,
) -> SoakResult:
    """Train runs under faults until so many processes were killed, and compare each with its twin.

    A run is started again with ``--resume`` until it ends. Each process gets one fault, drawn by
    the seed: a signal after a random time, or SIGKILL inside of a random call that writes a
    checkpoint. Between two processes files of the newest checkpoint may be damaged, as long as
    another one is intact. Processes are forked, so a start costs no imports.

    Args:
        config: config of a pre-training like those in ``configs/demo``.
        work_dir: a new folder for the runs; one is removed when it was compared and found equal.
        kills: least number of kills.
        seed: of the faults; how long a process lives also depends on the machine.
        images, epochs: size of a run.
        tell: gets a line now and then.
    """
    work_dir, begin = Path(work_dir), time.perf_counter()
    torch.set_num_threads(1)  # a thread pool would not survive the fork
    random, faults, differences = np.random.default_rng(seed), Counter(), []
    cfg = soak_config(config, work_dir / 'undisturbed', images, epochs)
    DATASETS.build(cfg.train_dataloader.dataset)  # forked processes share what this caches
    started = time.perf_counter()
    code = run_process(cfg, None)
    lifetime = time.perf_counter() - started
    if code:
        raise RuntimeError(f'the undisturbed run failed with exit code {code}, see {cfg.work_dir}.')
    expected = read_run(cfg.work_dir)
    tell(f'undisturbed run: {lifetime:.1f} s, {len(expected["log"])} steps logged')

    runs = starts = num_kills = stops = 0
    while num_kills < kills and not differences:
        cfg.work_dir = str(work_dir / f'run_{runs}')
        code = None
        while code != 0 and not differences:
            fault = draw_fault(random, lifetime)
            code = run_process(cfg, fault)
            starts += 1
            num_kills += code == -signal.SIGKILL
            stops += code == PREEMPTED
            if code:
                faults[fault.kind] += 1
            if code not in (0, -signal.SIGKILL, -signal.SIGTERM, -signal.SIGUSR1, PREEMPTED):
                differences.append(f'{cfg.work_dir}: a process ended with exit code {code}')
            if code and random.random() < 0.5:
                faults[tear(Path(cfg.work_dir), random)] += 1
        if not differences:
            differences = compare(expected, read_run(cfg.work_dir), cfg.work_dir)
        if not differences:
            remove_folder(Path(cfg.work_dir))
        runs += 1
        tell(f'{num_kills} of {kills} kills, {stops} stops, {runs} runs ended as the undisturbed')
    faults.pop('nothing', None)
    seconds = time.perf_counter() - begin
    return SoakResult(num_kills, stops, faults, runs, starts, seconds, differences)


class Fault(NamedTuple):
    """A signal after some seconds, or, if a call is given, within its n-th repetition."""

    signal: str
    seconds: float = 0.0
    call: str | None = None
    repetition: int = 0

    @property
    def kind(self) -> str:
        return f'{self.signal} in {self.call}' if self.call else self.signal


def draw_fault(random: np.random.Generator, lifetime: float) -> Fault:
    """Half of the faults hit a random moment, the others a moment of writing."""
    if random.random() < 0.5:
        return Fault(str(random.choice(SIGNALS, p=[0.7, 0.15, 0.15])), random.uniform(0, lifetime))
    return Fault('SIGKILL', 0.0, str(random.choice(WRITES)), int(random.integers(12)))


def run_process(cfg: Config, fault: Fault | None) -> int:
    """Train in a forked process; its exit code, negative for the signal that ended it."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            Path(cfg.work_dir).mkdir(parents=True, exist_ok=True)
            with open(Path(cfg.work_dir, 'output.txt'), 'a') as output:
                os.dup2(output.fileno(), 1)
                os.dup2(output.fileno(), 2)
            if fault is not None and fault.call:
                arm(fault)
            cfg.experiment_name = f'soak_{os.getpid()}_{time.time_ns()}'
            train(cfg)
            code = 0
        except SystemExit as leaving:
            code = leaving.code
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    if fault is not None and not fault.call:
        deadline = time.perf_counter() + fault.seconds
        while time.perf_counter() < deadline:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.005)
        os.kill(child, signal.Signals[fault.signal])
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def arm(fault: Fault) -> None:
    """Let this process kill itself in the n-th of its calls, with files half written."""
    left = fault.repetition

    call = getattr(os, fault.call)

    def deadly(*arguments):
        nonlocal left
        left -= 1
        if left < 0:
            if fault.call == 'fsync' and os.path.isfile(f'/proc/self/fd/{arguments[0]}'):
                os.ftruncate(arguments[0], os.fstat(arguments[0]).st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*arguments)

    setattr(os, fault.call, deadly)


def tear(work_dir: Path, random: np.random.Generator) -> str:
    """Damage the newest checkpoint, if there is another one, and say how."""
    checkpoints = sorted(work_dir.glob('*.pth'), key=lambda path: path.stat().st_mtime_ns)
    if len(checkpoints) < 2:
        return 'nothing'
    newest, how = checkpoints[-1], str(random.choice(TEARS))
    content = newest.read_bytes()
    place = int(random.integers(len(content)))
    if how == 'truncated':
        newest.write_bytes(content[:place])
    elif how == 'a bit flipped' and checksum_of(newest).exists():
        flipped = bytes([content[place] ^ 1 << random.integers(8)])
        newest.write_bytes(content[:place] + flipped + content[place + 1 :])
    elif how == 'removed':
        newest.unlink()
    elif how == 'checksum removed':
        checksum_of(newest).unlink(missing_ok=True)
    elif how == 'pointer torn':
        Path(work_dir, 'last_checkpoint').write_text(str(newest)[: place % len(str(newest))])
    elif how == 'left-overs':
        Path(work_dir, f'.{newest.name}.1{UNFINISHED}').write_bytes(content[:place])
    else:
        return 'nothing'
    return how


def read_run(work_dir: str | os.PathLike) -> dict[str, Any]:
    """The last checkpoint of a run, and its log: step -> the values that every run must share."""
    work_dir = Path(work_dir)
    # The pointer may still be torn, if the run was over when it was damaged.
    checkpoint = open_checkpoint(find_intact_checkpoint(work_dir, logging.getLogger('soak')))
    checkpoint.pop('meta')  # times and names
    runtime = checkpoint['message_hub'].pop('runtime_info')
    checkpoint['message_hub']['iter'] = runtime['iter']
    log = {}
    for path in sorted(work_dir.glob('*/vis_data/scalars.json')):
        for line in path.read_text().splitlines():
            try:
                values = json.loads(line)
            except json.JSONDecodeError:  # the last line of a process that was killed
                continue
            log.setdefault(values['step'], []).append(values)
    return dict(checkpoint=checkpoint, log=log)


def compare(expected: dict[str, Any], found: dict[str, Any], name: str) -> list[str]:
    """Where two runs differ in their last checkpoint or in any line of their logs."""
    differences = list(compare_values(expected['checkpoint'], found['checkpoint'], name))
    if expected['log'].keys() != found['log'].keys():
        missing = sorted(expected['log'].keys() ^ found['log'].keys())
        differences.append(f'{name}: only one log has the steps {missing[:5]}')
    for step, lines in found['log'].items():
        for line in lines:
            reference = expected['log'].get(step, [{}])[0]
            differences += compare_values(reference, line, f'{name}: log of step {step}')
    return differences


def compare_values(expected, found, place: str) -> Iterator[str]:
    """Places at which two nested values are not equal, bit by bit; what is measured is left out."""
    if isinstance(expected, HistoryBuffer) and isinstance(found, HistoryBuffer):
        expected, found = expected.data, found.data
    if isinstance(expected, dict) and isinstance(found, dict):
        for key in expected.keys() | found.keys():
            if any(part in str(key) for part in MEASURED):
                continue
            if key in expected and key in found:
                yield from compare_values(expected[key], found[key], f'{place}.{key}')
            else:
                yield f'{place}.{key} is only in one'
    elif isinstance(expected, list | tuple) and isinstance(found, list | tuple):
        if len(expected) != len(found):
            yield f'{place} has {len(found)} values instead of {len(expected)}'
        else:
            for index, pair in enumerate(zip(expected, found, strict=True)):
                yield from compare_values(*pair, f'{place}.{index}')
    elif isinstance(expected, Tensor | np.ndarray):
        expected, found = np.asarray(expected), np.asarray(found)
        same = expected.dtype == found.dtype and expected.shape == found.shape
        if not same or expected.tobytes() != found.tobytes():
            yield f'{place} differs'
    elif expected != found:
        yield f'{place} is {found!r} instead of {expected!r}'


def remove_folder(folder: Path) -> None:
    for path in sorted(folder.rglob('*'), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    folder.rmdir()

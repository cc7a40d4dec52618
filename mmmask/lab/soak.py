"""Pre-training under random kills, signals and damaged files, compared with an undisturbed run."""

import json
import logging
import os
import shutil
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
WRITES = ('fsync', 'replace')  # the calls that write a checkpoint
DAMAGES = (
    'truncated',
    'a bit flipped',
    'removed',
    'checksum removed',
    'pointer truncated',
    'unfinished file',
)
MEASURED = ('time', 'memory', 'eta', '_ms')  # in the names of values that differ between any runs


class SoakResult(NamedTuple):
    """What was done to the runs, and the result.

    Attributes:
        kills: number of processes that ended by SIGKILL, from outside or within a write.
        stops: number of processes that ended with the exit code of preemption.
        faults: number of faults of each kind.
        runs: number of runs that were trained to the end.
        starts: number of processes that trained them.
        seconds: total duration.
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
    """A small version of a config: few images, no pictures, a checkpoint every third iteration."""
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
    report: Callable[[str], None] = print,
) -> SoakResult:
    """Train runs under faults until enough processes were killed; compare each with no faults.

    A run is started again with ``--resume`` until it ends. Each process gets one random fault: a
    signal after a random time, or SIGKILL within a random call that writes a checkpoint. Between
    two processes files of the newest checkpoint may be damaged, as long as another one is intact.
    Processes are forked, so a start costs no imports.

    Args:
        config: config of a pre-training like those in ``configs/demo``.
        work_dir: a new or empty folder; a run in it is removed once it was found equal.
        kills: least number of kills.
        seed: of the faults; how long a process lives also depends on the machine.
        images, epochs: size of a run.
        report: is called with a line of progress after each run.

    Raises:
        FileExistsError: if ``work_dir`` is not empty.
        RuntimeError: if the undisturbed run fails.
    """
    work_dir, begin = Path(work_dir).expanduser(), time.perf_counter()
    if work_dir.is_dir() and any(work_dir.iterdir()):
        raise FileExistsError(f'{work_dir} is not empty, and runs in it are removed: name another.')
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
    report(f'undisturbed run: {lifetime:.1f} s, {len(expected["log"])} steps logged')

    runs = starts = num_kills = stops = 0
    while num_kills < kills and not differences:
        cfg.work_dir = str(work_dir / f'run_{runs}')
        code = None
        while code != 0 and not differences:
            fault = random_fault(random, lifetime)
            code = run_process(cfg, fault)
            starts += 1
            num_kills += code == -signal.SIGKILL
            stops += code == PREEMPTED
            if code:
                faults[fault.kind] += 1
            if code not in (0, -signal.SIGKILL, -signal.SIGTERM, -signal.SIGUSR1, PREEMPTED):
                differences.append(f'{cfg.work_dir}: a process ended with exit code {code}')
            if code and random.random() < 0.5:
                faults[damage(Path(cfg.work_dir), random)] += 1
        if not differences:
            differences = compare(expected, read_run(cfg.work_dir), cfg.work_dir)
        if not differences:
            shutil.rmtree(cfg.work_dir)
        runs += 1
        report(f'{num_kills} of {kills} kills, {stops} stops, {runs} runs ended equal')
    faults.pop('nothing', None)
    seconds = time.perf_counter() - begin
    return SoakResult(num_kills, stops, faults, runs, starts, seconds, differences)


class Fault(NamedTuple):
    """A signal after some seconds or, if a call is given, within its n-th repetition."""

    signal: str
    seconds: float = 0.0
    call: str | None = None
    repetition: int = 0

    @property
    def kind(self) -> str:
        return f'{self.signal} in {self.call}' if self.call else self.signal


def random_fault(random: np.random.Generator, lifetime: float) -> Fault:
    """A signal at a random moment, or with the same probability SIGKILL while writing."""
    if random.random() < 0.5:
        return Fault(str(random.choice(SIGNALS, p=[0.7, 0.15, 0.15])), random.uniform(0, lifetime))
    return Fault('SIGKILL', 0.0, str(random.choice(WRITES)), int(random.integers(12)))


def run_process(cfg: Config, fault: Fault | None) -> int:
    """Train in a forked process; returns its exit code, negative for the signal that ended it."""
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
    """Make this process kill itself within the n-th call, with files half written."""
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


def damage(work_dir: Path, random: np.random.Generator) -> str:
    """Damage the newest checkpoint if there is another one; returns the kind of damage."""
    checkpoints = sorted(work_dir.glob('*.pth'), key=lambda path: path.stat().st_mtime_ns)
    if len(checkpoints) < 2:
        return 'nothing'
    newest, how = checkpoints[-1], str(random.choice(DAMAGES))
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
    elif how == 'pointer truncated':
        Path(work_dir, 'last_checkpoint').write_text(str(newest)[: place % len(str(newest))])
    elif how == 'unfinished file':
        Path(work_dir, f'.{newest.name}.1{UNFINISHED}').write_bytes(content[:place])
    else:
        return 'nothing'
    return how


def read_run(work_dir: str | os.PathLike) -> dict[str, Any]:
    """The last checkpoint of a run, and its log: step -> values, which all runs must share."""
    work_dir = Path(work_dir)
    # The pointer is still truncated if it was damaged when the run was over.
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
    """The differences of two runs in their last checkpoint and in any line of their logs."""
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
    """Places where two nested values are not equal bit for bit, except for measured values."""
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

"""What a training wrote into its folder, read without the model or the data."""

import json
import os
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from mmmask.config_text import UNREADABLE, flatten, read_config

from .kinds import KINDS, Kind

START = re.compile(r'\d{8}_\d{6}')  # folders that mmengine names after the start of a run
LINE = re.compile(r'(\d{4}/\d\d/\d\d \d\d:\d\d:\d\d) - \S+ - ([A-Z]+) - ?(.*)')
BATCH = re.compile(r'batch (\d+) x (\d+) processes x (\d+) accumulated')
SCOPE = re.compile(r"^default_scope = '(\w+)'", re.MULTILINE)
NUMBERS = re.compile(r'\d+(?:\.\d+)?')
PICTURE = re.compile(r'(.+?)_(\d+)\.(?:png|jpg)')
ENVIRONMENT = re.compile(r'^    ([\w. ]+): (.+)$', re.MULTILINE)
LONG = 'PyTorch compiling details'  # of the environment; a page of compiler flags
RECENT = 120  # seconds since the last line of a run that is probably running


class Point(NamedTuple):
    """A logged value and the iteration at which it was logged."""

    step: int
    value: float


class Warned(NamedTuple):
    """A warning or error of the log, with the number of times that it occurred."""

    level: str
    moment: str
    text: str
    count: int


class Picture(NamedTuple):
    """A picture that a run wrote, with the iteration; None for one that is not of a training."""

    name: str
    step: int | None
    path: Path


@dataclass
class Run:
    """A folder of a training, any part of which may be missing or truncated.

    Attributes:
        folder: the folder.
        name: unique among the runs of a report.
        scalars: points by name, in the order of their iterations.
        epochs: last iteration of each logged epoch.
        missing: sentences on what could not be read.
    """

    folder: Path
    name: str
    scalars: dict[str, list[Point]] = field(default_factory=dict)
    epochs: dict[int, int] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)

    @cached_property
    def starts(self) -> list[Path]:
        """A folder for each time that the training was started, the oldest first."""
        folders = [path for path in self.folder.iterdir() if START.fullmatch(path.name)]
        return sorted(path for path in folders if path.is_dir())

    @cached_property
    def log(self) -> str:
        """The text of all logs, the oldest first."""
        logs = [path for start in self.starts for path in sorted(start.glob('*.log'))]
        return '\n'.join(path.read_text(encoding='utf-8', errors='replace') for path in logs)

    @cached_property
    def config_file(self) -> Path | None:
        """The config of the last start."""
        dumped = [start / 'vis_data' / 'config.py' for start in reversed(self.starts)]
        return next((path for path in dumped if path.is_file()), None)

    @cached_property
    def config_text(self) -> str:
        return self.config_file.read_text(encoding='utf-8') if self.config_file else ''

    @cached_property
    def config(self) -> dict[str, Any]:
        """The values of the config by dotted key; empty if it cannot be read as data."""
        values = read_config(self.config_text)
        return {} if UNREADABLE in values else flatten(values)

    @cached_property
    def kind(self) -> Kind:
        """What the trainings of this kind have; that of a pre-training if it is unknown."""
        found = SCOPE.search(self.config_text)
        return KINDS.get(found[1] if found else 'mmmask', KINDS['mmmask'])

    @cached_property
    def images_per_step(self) -> int | None:
        """Images of an iteration, on all processes; None if unknown."""
        found = BATCH.findall(self.log)
        if found:
            batch, processes, _ = map(int, found[-1])
            return batch * processes
        return None

    @property
    def last_step(self) -> int:
        return max((points[-1].step for points in self.scalars.values()), default=0)

    def epoch_at(self, step: int) -> float | None:
        """The number of epochs after an iteration; None if the epochs are not logged."""
        length = self.steps_per_epoch
        return step / length if length else None

    @cached_property
    def logged_steps_per_epoch(self) -> int | None:
        """Iterations of an epoch as the log states them; None in a training by iterations."""
        found = re.findall(r'Epoch\(train\)\s+\[\d+\]\[\s*\d+/(\d+)\]', self.log)
        return int(found[-1]) if found else None

    @cached_property
    def steps_per_epoch(self) -> float | None:
        """Iterations of an epoch: exact from the log, or else from the logged epochs."""
        if self.logged_steps_per_epoch:
            return self.logged_steps_per_epoch
        complete = sorted(self.epochs.items())[:-1]
        return complete[-1][1] / complete[-1][0] if complete else None

    @cached_property
    def warnings(self) -> list[Warned]:
        """Warnings and errors; those that differ in numbers only are counted together."""
        first, count = {}, Counter()
        for moment, level, text in log_entries(self.log):
            if level in ('WARNING', 'ERROR', 'CRITICAL'):
                key = level, NUMBERS.sub('#', text)
                first.setdefault(key, (level, moment, text))
                count[key] += 1
        return [Warned(*entry, count[key]) for key, entry in first.items()]

    @cached_property
    def environment(self) -> dict[str, str]:
        """The environment of the last start by the names of mmengine's log."""
        _, found, rest = self.log.rpartition('System environment:')
        block = rest.partition('\n----')[0]
        values = dict(ENVIRONMENT.findall(block)) if found else {}
        return {name: value for name, value in values.items() if name != LONG}

    @cached_property
    def pictures(self) -> list[Picture]:
        """Pictures of the training in the order of iterations, then those beside it."""
        found = {}
        for start in self.starts:
            for path in sorted((start / 'vis_data' / 'vis_image').glob('*')):
                if match := PICTURE.fullmatch(path.name):
                    found[match[1], int(match[2])] = path
        drawn = [Picture(name, step, path) for (name, step), path in found.items()]
        beside = [Picture(p.stem, None, p) for p in sorted(self.folder.glob('*.png'))]
        return sorted(drawn, key=lambda one: (one.name, one.step)) + beside

    @cached_property
    def checkpoint(self) -> Path | None:
        """The checkpoint that the run names as its last, or else the newest one."""
        named = self.folder / 'last_checkpoint'
        if named.is_file():
            path = self.folder / Path(named.read_text().strip()).name
            if path.is_file():
                return path
        found = sorted(self.folder.glob('*.pth'), key=lambda path: path.stat().st_mtime)
        return found[-1] if found else None

    @cached_property
    def checkpoints(self) -> list[Path]:
        """The checkpoints of the training in its order, the last of the run at the end."""
        found = [path for unit in ('epoch', 'iter') for path in self.folder.glob(f'{unit}_*.pth')]
        found = [path for path in found if path.stem.rpartition('_')[2].isdigit()]
        earlier = {path for path in found if path != self.checkpoint}
        last = [self.checkpoint] if self.checkpoint else []
        return sorted(earlier, key=lambda path: int(path.stem.rpartition('_')[2])) + last

    @property
    def state(self) -> str:
        """How far the run is, in words."""
        if not self.scalars:
            return 'nothing logged yet'
        epochs, steps = (self.config.get(f'train_cfg.max_{unit}') for unit in ('epochs', 'iters'))
        done = max(self.epochs, default=0) if epochs else self.last_step
        unit = 'epoch' if epochs else 'iteration'
        total = epochs or steps
        place = f'{unit} {done:,} of {total:,}' if total else f'{unit} {done:,}'
        if total and self.checkpoint and self.checkpoint.stem.endswith(f'_{total}'):
            return f'finished, {place}'
        is_recent = time.time() - self.last_written < RECENT
        return f'{"running" if is_recent else "stopped or waiting"}, {place}'

    @property
    def last_written(self) -> float:
        """Time of the last change of a log, in seconds since 1970."""
        logs = [path for start in self.starts for path in start.rglob('*') if path.is_file()]
        return max((path.stat().st_mtime for path in logs), default=0.0)


def log_entries(log: str) -> list[tuple[str, str, str]]:
    """The text of a log -> moment, level and text of each entry; an entry may have many lines."""
    entries: list[list[str]] = []
    for line in log.splitlines():
        if match := LINE.match(line):
            entries.append(list(match.groups()))
        elif entries:
            entries[-1][2] += f'\n{line}'
    return [(moment, level, text.strip()) for moment, level, text in entries]


def read_run(folder: str | os.PathLike, name: str) -> Run:
    """Read the folder of a training.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: if the folder is not that of a training.
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise FileNotFoundError(f'{folder} is not a folder: give the --work-dir of a training.')
    run = Run(folder, name)
    if not run.starts:
        raise ValueError(
            f'{folder} holds no logs: give the --work-dir of a training, which has a folder named '
            'after the time of each start, such as 20260131_235959.'
        )
    for start in run.starts:
        read_scalars(run, start)
    run.missing += find_gaps(run)
    return run


def read_scalars(run: Run, start: Path) -> None:
    """Add the values that were logged after a start. They replace later ones of older starts."""
    path = start / 'vis_data' / 'scalars.json'
    if not path.is_file():
        run.missing.append(f'The start of {start.name} logged no values.')
        return
    records, torn = [], 0
    for line in path.read_text(encoding='utf-8', errors='replace').splitlines():
        try:
            record = json.loads(line)
            records.append((int(record.pop('step')), record))
        except (ValueError, KeyError, TypeError, AttributeError):
            torn += 1
    if torn:
        noun = 'line is' if torn == 1 else 'lines are'
        run.missing.append(f'{torn} {noun} truncated in the values of the start of {start.name}.')
    records = [*at_iterations(run, records)]
    first = {}
    for step, record in records:
        for name, value in record.items():
            if isinstance(value, int | float) and name not in ('epoch', 'iter'):
                first.setdefault(name, step)
    for name, step in first.items():
        run.scalars[name] = [p for p in run.scalars.get(name, ()) if p.step < step]
    for step, record in records:
        epoch = record.get('epoch')
        if isinstance(epoch, int):
            run.epochs[epoch] = max(step, run.epochs.get(epoch, 0))
        for name in first:
            if isinstance(record.get(name), int | float):
                run.scalars[name].append(Point(step, float(record[name])))


def at_iterations(run: Run, records: Sequence[tuple[int, dict]]) -> Iterator[tuple[int, dict]]:
    """The records of a start, those of a validation at its iteration and without its speed.

    mmengine logs a validation at the number of its epoch, unless ``log_metric_by_epoch`` is False.
    """
    by_iteration = run.config.get('default_hooks.logger.log_metric_by_epoch') is False
    length = 1 if by_iteration else run.logged_steps_per_epoch or 1
    trained = 0
    for step, record in records:
        if 'iter' in record:
            trained = step
        elif 'time' in record:
            step = max(trained, step * length)
            record = {k: v for k, v in record.items() if k not in ('time', 'data_time')}
        yield step, record


def find_gaps(run: Run) -> list[str]:
    """Sentences on the parts of a report for which a run has no data, and why."""
    gaps = []
    if not run.config_text:
        gaps.append('There is no config, so neither it nor the length of the run can be shown.')
    elif not run.config:
        gaps.append('The config cannot be read as data, so it is shown as text only.')
    if 'loss' not in run.scalars:
        gaps.append('No loss was logged.')
    if not any(metric.name in run.scalars for metric in run.kind.metrics):
        gaps.append(run.kind.no_metric)
    if run.images_per_step is None:
        gaps.append('The log does not state the batch, so nothing can be shown over images.')
    if not run.pictures and run.kind.no_pictures:
        gaps.append(run.kind.no_pictures)
    if run.checkpoint is None:
        gaps.append('There is no checkpoint yet.')
    return gaps


def name_runs(folders: Sequence[str | os.PathLike]) -> list[str]:
    """Short names of folders, which differ: the last part, or as many parts as it takes.

    Raises:
        ValueError: if a folder is given twice.
    """
    paths = [Path(folder).expanduser().resolve() for folder in folders]
    if len(set(paths)) < len(paths):
        twice = next(path for path in paths if paths.count(path) > 1)
        raise ValueError(f'{twice} is given twice: name each run once.')
    for depth in range(1, 1 + max(len(path.parts) for path in paths)):
        names = ['/'.join(path.parts[-depth:]) for path in paths]
        if len(set(names)) == len(names):
            break
    return names

"""The runs of a campaign: which there are, and one JSON file of results for each."""

import fcntl
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import cached_property
from itertools import product
from pathlib import Path
from statistics import median
from typing import NamedTuple, TextIO

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from torch import nn

from mmmask.apis.visualize import build_model
from mmmask.config_text import flatten
from mmmask.outputs import MARK, OutputFolder

from ..benchmark import benchmark_configs
from ..scores import console, run_training
from .declaration import Campaign, Tuning
from .files import write_once
from .forking import fork_checkpoint
from .images import PARTS, Images
from .reading import Features, knn, probe, read_baselines, read_features, score
from .training import pretraining_config, tuning_config

BASELINES, COSTS = 'baselines', 'costs'
START = 'start.pth'  # not a name that --resume looks for


class Run(NamedTuple):
    """One training, or one classifier on top of it, or what is measured without training."""

    method: str
    seed: int = 0
    fraction: float | None = None
    times: int = 1
    scratch: bool = False

    @property
    def name(self) -> str:
        """The name of its folder and of its JSON file."""
        if self.method in (BASELINES, COSTS):
            return self.method
        name = f'{self.method}_seed{self.seed}'
        if self.fraction is None:
            return name
        start = f'_scratch{self.times}x' if self.scratch else '_tuned'
        return f'{name}{start}_{self.fraction:g}'

    def parent(self, campaign: Campaign) -> 'Run | None':
        """The run whose checkpoints this one starts from."""
        if self.fraction is not None:
            return Run(self.method, self.seed)
        method = campaign.methods.get(self.method)
        return Run(method.fork, self.seed) if method and method.fork else None

    def declared(self, campaign: Campaign) -> dict:
        """All that its result depends on, as it is written to JSON."""
        parts = dict(data=campaign.data, reading=campaign.reading)
        if self.method == COSTS:
            parts = dict(data=campaign.data, methods=campaign.methods)
        elif self.method != BASELINES:
            method = campaign.methods[self.method]
            parts |= dict(method=method, parent=campaign.methods.get(method.fork))
            parts |= dict(epochs=campaign.epochs, points=campaign.points)
        if self.fraction is not None:
            tuning = campaign.tuning
            parts['tuning'] = dict(epochs=tuning.epochs, options=tuning.options)
            del parts['reading']
        return json.loads(json.dumps(parts | self._asdict(), default=asdict))


def list_runs(campaign: Campaign) -> list[Run]:
    """All runs, each after the one that it starts from, and seed by seed."""
    runs = [Run(BASELINES), Run(COSTS)]
    runs += [Run(method, seed) for seed, method in product(campaign.seeds, campaign.methods)]
    tuning = campaign.tuning or Tuning(labels=[], epochs=0)
    methods = campaign.tuned
    for seed, fraction in product(campaign.seeds, tuning.labels):
        runs += [Run(method, seed, fraction) for method in methods]
        runs += [Run(methods[0], seed, fraction, times, scratch=True) for times in tuning.scratch]
    return runs


class Conductor:
    """Runs what is missing of a campaign.

    Several processes may run the same campaign in the same folder, also on several machines with a
    common disk. A run that one of them has begun is left to it.

    Args:
        campaign: what to run.
        work_dir: gets a folder for each run, which holds its checkpoints.
        results: gets a JSON file for each run.
        only: run only the run of this name, or if there is none, those whose name contains this.
    """

    def __init__(
        self,
        campaign: Campaign,
        work_dir: str | os.PathLike,
        results: str | os.PathLike,
        only: str = '',
    ) -> None:
        self.campaign = campaign
        self.folder = Path(work_dir).expanduser() / campaign.name
        self.output = OutputFolder(results)
        self.images = Images(campaign.data, self.folder / 'lists')
        runs = list_runs(campaign)
        self.runs = [run for run in runs if run.name == only] or [
            run for run in runs if only in run.name
        ]

    @cached_property
    def configs(self) -> dict[str, Path]:
        """The config file of each method."""
        return {
            name: write_once(
                self.folder / 'configs' / f'{name}.py',
                pretraining_config(self.campaign, method, self.images).pretty_text,
            )
            for name, method in self.campaign.methods.items()
        }

    @cached_property
    def starts(self) -> list[str]:
        """The first method of each encoder, whose random weights, those of one seed, are tested."""
        first = {}
        for name, path in self.configs.items():
            encoder = Config.fromfile(path).model.backbone
            for key in ('out_indices', 'final_norm'):  # of what is read, not of weights
                encoder.pop(key, None)
            first.setdefault(str(encoder), name)
        return list(first.values())

    def __call__(self) -> None:
        """Run what is missing."""
        MMLogger.get_current_instance().setLevel('WARNING')
        for run in self.runs:
            if self.result(run):
                continue
            with self._claim(run) as is_mine:
                if is_mine and not self.result(run):
                    self._wait_for(run.parent(self.campaign))
                    self._announce(run)
                    self._conduct(run)

    def show(self) -> None:
        """Print the state of each run."""
        for run in self.runs:
            result = self.result(run)
            state = f'done in {result["seconds"] / 60:.0f} min' if result else 'not done'
            console.print(f'{run.name:40} {state}', highlight=False)

    def results(self) -> dict[str, dict]:
        """The results of all finished runs, by name."""
        runs = list_runs(self.campaign)
        return {run.name: result for run in runs if (result := self.result(run))}

    def result(self, run: Run) -> dict | None:
        """The result of a finished run.

        Raises:
            ValueError: if the campaign was declared differently when it was measured.
        """
        path = self.output.folder / f'{run.name}.json'
        if not path.is_file():
            return None
        result = json.loads(path.read_text())
        before, now = flatten(result['declared']), flatten(run.declared(self.campaign))
        for key in before | now:
            if before.get(key) != now.get(key):
                raise ValueError(
                    f'{path} was measured with {key}={before.get(key)!r}, and the campaign '
                    f'declares {now.get(key)!r}: remove the file, so that the run is measured '
                    'again, or undo the change.'
                )
        return result

    @contextmanager
    def _claim(self, run: Run) -> Iterator[bool]:
        """Whether no other process works on this run."""
        with self._lock(run) as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True

    def _wait_for(self, run: Run | None) -> None:
        """Wait for the process that works on a run, if there is one."""
        if run and not self.result(run):
            with self._lock(run) as lock:
                fcntl.flock(lock, fcntl.LOCK_SH)
            if not self.result(run):
                raise ValueError(f'{run.name} must be run first: give the command without --only.')

    def _lock(self, run: Run) -> TextIO:
        folder = self.folder / run.name
        folder.mkdir(parents=True, exist_ok=True)
        return open(folder / 'lock', 'w')

    def _announce(self, run: Run) -> None:
        results = [(one, self.result(one)) for one in self.runs]
        left = [one for one, result in results if not result]
        known = [(_kind(one), result['seconds']) for one, result in results if result]
        guesses = [
            median(seconds)
            for one in left
            if (seconds := [value for kind, value in known if kind == _kind(one)])
        ]
        end = ''
        if len(guesses) == len(left):
            moment = time.localtime(time.time() + sum(guesses))
            end = f'; ends about {time.strftime("%a %H:%M", moment)}'
        done = len(results) - len(left)
        console.rule(f'{self.campaign.name}: {run.name}, {done} done, {len(left)} left{end}')

    def _conduct(self, run: Run) -> None:
        start = time.monotonic()
        if run.method == BASELINES:
            result = self._read_baselines()
        elif run.method == COSTS:
            result = dict(methods=self._measure_costs())
        elif run.fraction is None:
            result = self._pretrain(run)
        else:
            result = self._tune(run)
        seconds = time.monotonic() - start
        result |= dict(seconds=seconds, declared=run.declared(self.campaign), description=MARK)
        with self.output.file(f'{run.name}.json') as path:
            path.write_text(json.dumps(result, indent=1))

    def _read_baselines(self) -> dict:
        parts = {part: read_baselines(self.images.dataset(part)) for part in PARTS}
        reading = self.campaign.reading
        return dict(
            knn_val=knn(parts['train'], parts['val'], reading.k),
            knn_test=knn(parts['train'], parts['test'], reading.k),
            linear={
                name: probe(parts, name, reading, self.images) for name in parts['train'].values
            },
        )

    def _measure_costs(self) -> dict:
        """GFLOP and seconds of an image in a training step of each method, in turns."""
        report = benchmark_configs(list(map(str, self.configs.values())), batch_size=64, iters=6)
        return {
            name: dict(gflop=result.flops / 64e9, seconds=result.seconds / 64)
            for name, result in zip(self.configs, report.results, strict=True)
        }

    def _pretrain(self, run: Run) -> dict:
        folder, config = self.folder / run.name, self.configs[run.method]
        last = self.campaign.epochs
        model = build_model(Config.fromfile(config), seed=run.seed)
        start = dict(meta=dict(cfg=config.read_text()), state_dict=model.state_dict())
        torch.save(start, folder / START)
        if run.method in self.starts and run.seed == self.campaign.seeds[0]:
            random = self._score(run, model)
        else:
            random = dict(knn_val=self._choose(run, model))
        self._fork(run, model)
        run_training(config, folder, run.seed, resume=True)
        scores = self._score(run, self._load(run, last))
        curve = {0: random['knn_val'], last: scores['knn_val']}
        for epoch in range(self.campaign.interval, last, self.campaign.interval):
            curve[epoch] = self._choose(run, self._load(run, epoch))
        size = len(self.images.parts['train'])
        points = [
            dict(epoch=epoch, images=epoch * size, knn_val=curve[epoch]) for epoch in sorted(curve)
        ]
        return dict(scores, random=random, curve=points)

    def _fork(self, run: Run, model: nn.Module) -> None:
        method = self.campaign.methods[run.method]
        if method.fork:
            parent = self.folder / Run(method.fork, run.seed).name
            forked = self.checkpoint(run, method.fork_epoch)
            if not forked.is_file():
                fork_checkpoint(parent / forked.name, model, forked)

    def checkpoint(self, run: Run, epoch: int) -> Path:
        """The checkpoint of a run after an epoch; before a fork, that of its parent."""
        return self.folder / self._owner(run, epoch).name / f'epoch_{epoch}.pth'

    def _owner(self, run: Run, epoch: int) -> Run:
        """The run that trains the weights of this epoch: before a fork, the parent."""
        method = self.campaign.methods[run.method]
        return Run(method.fork, run.seed) if epoch < (method.fork_epoch or 0) else run

    def _load(self, run: Run, epoch: int) -> nn.Module:
        cfg = Config.fromfile(self.configs[self._owner(run, epoch).method])
        return build_model(cfg, self.checkpoint(run, epoch))

    def _extract(self, run: Run, model: nn.Module, part: str) -> Features:
        layers, grids = self.campaign.layers(run.method), self.campaign.reading.grids
        return read_features(model, self.images.dataset(part), layers, grids)

    def _choose(self, run: Run, model: nn.Module) -> dict[str, float]:
        bank, query = (self._extract(run, model, part) for part in ('train', 'val'))
        return knn(bank, query, self.campaign.reading.k)

    def _score(self, run: Run, model: nn.Module) -> dict:
        parts = {part: self._extract(run, model, part) for part in PARTS}
        return score(parts, self.campaign.reading, self.images)

    def _tune(self, run: Run) -> dict:
        folder, start = self.folder / run.name, self.folder / Run(run.method, run.seed).name
        checkpoint = start / (START if run.scratch else f'epoch_{self.campaign.epochs}.pth')
        cfg = tuning_config(
            self.campaign, self.images, checkpoint, run.fraction, run.times, run.seed
        )
        config = write_once(folder / 'classifier.py', cfg.pretty_text)
        run_training(config, folder, run.seed, resume=True, pretrained=checkpoint)
        return dict(top1=_last_accuracy(folder))


def _kind(run: Run) -> tuple:
    return run.method in (BASELINES, COSTS), run.fraction is None, run.times


def _last_accuracy(folder: Path) -> float:
    """``accuracy/top1`` of the last evaluation in a training's scalars."""
    found: Sequence[float] = []
    for path in sorted(folder.glob('*/vis_data/*.json')):
        lines = map(json.loads, path.read_text().splitlines())
        found = [line['accuracy/top1'] for line in lines if 'accuracy/top1' in line] or found
    return found[-1]

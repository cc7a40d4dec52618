"""What a resumed run takes from its checkpoint and from its config, and what it refuses."""

import argparse
import copy
import os
import re
import reprlib
import shlex
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from mmengine import dist
from mmengine.model import is_model_wrapper
from mmengine.optim import _ParamScheduler
from mmengine.runner import IterBasedTrainLoop

from mmmask.checkpoints import CheckpointError, open_checkpoint
from mmmask.config_text import UNREADABLE, compare_configs, read_config
from mmmask.datasets import find_repeats
from mmmask.doctor import tool

LENGTHS = ('train_cfg.max_epochs', 'train_cfg.max_iters')
PLAN = (*LENGTHS, 'optim_wrapper.', 'param_scheduler.', UNREADABLE)
# What an optimizer's state depends on besides the values of the config.
OF_THE_STATE = ('params', 'fused', 'capturable')
UNITS = dict(epoch='epochs', iter='iterations')
MAX_NAMED = 8
short = reprlib.Repr()
short.maxstring = short.maxother = 60


class Resumption:
    """How a run continues from a checkpoint, decided while the checkpoint is being loaded.

    Weights, the optimizer's state and the position in the training come from the checkpoint.
    Hyperparameters and schedules come from the config. Where it differs from the config of the
    checkpoint, :meth:`replan` sets the rates that a run of the new config has at this position.

    Args:
        runner: a runner with the optimizer and the schedules that were built from the config.
        checkpoint: the checkpoint, opened but not loaded yet. Where the number of iterations per
            epoch has changed, its ``meta['iter']`` is set to the new number.
        path: path of the checkpoint, for messages.

    Raises:
        CheckpointError: if the run cannot do what its config asks for from this checkpoint. The
            message names two commands that work.
    """

    def __init__(self, runner, checkpoint: dict, path: str) -> None:
        self.runner, self.path = runner, path
        self.meta = checkpoint.get('meta', {})
        self.by_epoch = not isinstance(runner.train_loop, IterBasedTrainLoop)
        self.loader = (checkpoint.get('resume') or {}).get('loader')
        self.changes = compare_configs(self.meta.get('cfg', ''), runner.cfg.pretty_text)
        self._check_content(checkpoint)
        self._check_model(checkpoint['state_dict'])
        self._check_optimizer(checkpoint['optimizer'])
        self._check_seed()
        self._check_pretrained()
        self._check_loop()
        self._check_position()
        self._check_total_steps()
        self.former_rate = largest_rate(checkpoint['optimizer']['param_groups'])
        self.groups = [
            {key: copy.copy(group[key]) for key in group if key not in OF_THE_STATE}
            for group in runner.optim_wrapper.param_groups
        ]
        self.schedules = [copy.deepcopy(s.state_dict()) for s in runner.param_schedulers or []]

    def replan(self) -> None:
        """Continue with the rates of the config, and log in one line what has changed."""
        runner = self.runner
        loader = describe_loader(runner)
        changes = [
            f'{key}: {short.repr(old)} → {short.repr(new)}'
            for key, (old, new) in self.changes.items()
        ]
        changes += [
            f'{key}: {self.loader[key]} → {loader[key]}'
            for key in loader
            if self.loader and self.loader.get(key, loader[key]) != loader[key]
        ]
        if not changes:
            return
        more = f' and {len(changes) - MAX_NAMED} more' if len(changes) > MAX_NAMED else ''
        line = f'Changed since the checkpoint: {"; ".join(changes[:MAX_NAMED])}{more}.'
        if self._plan_differs() or self._steps_differ():
            schedulers = runner.param_schedulers or []
            for group, planned in zip(runner.optim_wrapper.param_groups, self.groups, strict=True):
                group.update(planned)
            for scheduler, planned in zip(schedulers, self.schedules, strict=True):
                scheduler.load_state_dict(planned)
            replay(schedulers, runner.iter, runner.epoch, len(runner.train_dataloader))
            rate = largest_rate(runner.optim_wrapper.param_groups)
            line += (
                f' The learning rate continues at {rate:g} ({self.former_rate:g} in the '
                f'checkpoint), as planned for {self._length} {UNITS[self._unit]}.'
            )
            if any(key in LENGTHS for key in self.changes):
                line += self._end_of_schedule(schedulers)
        runner.logger.warning(line)

    @property
    def _unit(self) -> str:
        return 'epoch' if self.by_epoch else 'iter'

    @property
    def _length(self) -> int:
        return self.runner.max_epochs if self.by_epoch else self.runner.max_iters

    def _end_of_schedule(self, schedulers: Sequence[_ParamScheduler]) -> str:
        """A warning if the schedules end at another iteration than the run."""
        ends = [
            s.end * (len(self.runner.train_dataloader) if s.by_epoch else 1)
            for s in schedulers
            if s.param_name == 'lr'
        ]
        if not ends or max(ends) == self.runner.max_iters:
            return ''
        return (
            f' The schedule ends at iteration {max(ends)} and the run at {self.runner.max_iters}: '
            "set the schedule's end too if they should agree."
        )

    # What is refused

    def _check_content(self, checkpoint: dict) -> None:
        missing = [key for key in ('optimizer', 'message_hub') if key not in checkpoint]
        missing += [f'meta.{key}' for key in ('epoch', 'iter') if key not in self.meta]
        if missing:
            self._refuse(
                f'it contains weights but no state of a training ({", ".join(missing)} missing)',
                ('from the newest checkpoint of the work directory', self._command('--resume')),
            )

    def _check_model(self, tensors: dict) -> None:
        model = self.runner.model
        model = model.module if is_model_wrapper(model) else model
        now = {name: tuple(value.shape) for name, value in model.state_dict().items()}
        before = {name: tuple(value.shape) for name, value in tensors.items()}
        names = [name for name in before | now if before.get(name) != now.get(name)]
        if names:
            shapes = [shapes.get(names[0], 'missing') for shapes in (before, now)]
            self._refuse(
                f'its model is different: {len(names)} tensors differ, such as {names[0]} '
                f'({shapes[0]} in the checkpoint, {shapes[1]} in the model)',
                self._as_before('model.', 'custom_hooks.'),
            )

    def _check_optimizer(self, state: dict) -> None:
        before, now = self.changes.get('optim_wrapper.optimizer.type', (None, None))
        sizes, expected = (
            [len(group['params']) for group in groups]
            for groups in (state['param_groups'], self.runner.optim_wrapper.optimizer.param_groups)
        )
        if before != now:
            reason = f'its optimizer is {before}, but optim_wrapper.optimizer.type={now!r}'
        elif sizes != expected:
            reason = f'its optimizer has groups of {sizes} parameters, but now there are {expected}'
        else:
            waiting = [
                type(scheduler).__name__
                for scheduler in self.runner.param_schedulers or []
                if getattr(scheduler, 'need_val_args', False)
            ]
            if not waiting or not self._plan_differs():
                return
            reason = f'{waiting[0]} follows validations and cannot be planned for a new config'
        self._refuse(reason, self._as_before(*PLAN))

    def _check_seed(self) -> None:
        before, now = self.meta.get('seed'), self.runner._randomness_cfg.get('seed')
        if None not in (before, now) and before != now:
            self._refuse(
                f'its random states and the order of its images come from seed {before}, but '
                f'randomness.seed={now}',
                ('as before', self._command('--resume', self.path, '--seed', before)),
            )

    def _check_loop(self) -> None:
        before, now = self.changes.get('train_cfg.type', (None, None))
        if before != now:
            self._refuse(
                f'its training loop is {before}, but train_cfg.type={now!r}',
                self._as_before('train_cfg.'),
            )

    def _check_position(self) -> None:
        """Check that the checkpoint lies within the run and that its position has a meaning.

        A position within an epoch has a meaning only if each step uses the same images as before.
        """
        iteration = self._position(self.meta)
        if iteration is None:
            self._refuse(
                f'it was saved in the middle of an epoch with {self.loader}, but now there is '
                f'{describe_loader(self.runner)}',
                self._as_before('train_dataloader.', processes=self.loader['processes']),
                earlier=True,
            )
        if iteration > self.runner.max_iters:
            key = LENGTHS[0] if self.by_epoch else LENGTHS[1]
            self._refuse(
                f'{iteration} iterations are done, but {key}={self._length} ends at '
                f'{self.runner.max_iters}',
                self._as_before(key),
                earlier=True,
            )
        self.meta['iter'] = iteration

    def _check_pretrained(self) -> None:
        """Check that no other backbone is asked for, as the weights are those of the checkpoint."""
        former = read_config(self.meta.get('cfg', '')).get('custom_hooks')
        before, now = map(pretrained_of, (former, self.runner.cfg.get('custom_hooks')))
        if now is None or (before and os.path.abspath(before) == os.path.abspath(now)):
            return
        options = ['--pretrained', before] if before else []
        self._refuse(
            f'--pretrained {now} would not be loaded, as the weights are those of the checkpoint',
            (
                'as before',
                self._command('--resume', self.path, *options, without='--pretrained'),
            ),
            other=(
                'as asked for, in a new run',
                self._command(work_dir=f'{self.runner.work_dir}_new'),
            ),
        )

    def _check_total_steps(self) -> None:
        """Check that schedules with a length of their own, such as OneCycleLR, fit the run."""
        for scheduler in self.runner.param_schedulers or []:
            planned = getattr(scheduler, 'total_steps', None)
            if planned is None or not self._plan_differs():
                continue
            length = self.runner.max_epochs if scheduler.by_epoch else self.runner.max_iters
            if planned + scheduler.begin != length:
                self._refuse(
                    f'{type(scheduler).__name__} is planned for total_steps={planned}, but the run '
                    f'has {length}: set its total_steps too',
                    self._as_before(*PLAN),
                )

    def _position(self, meta: dict) -> int | None:
        """The iteration of a checkpoint in this run; None if it has no meaning here."""
        if not self.by_epoch or not self._steps_differ():
            return meta['iter']
        epochs, rest = divmod(meta['iter'], self.loader['iterations_per_epoch'])
        return None if rest else epochs * len(self.runner.train_dataloader)

    def _plan_differs(self) -> bool:
        """Whether hyperparameters or schedules differ from those of the checkpoint."""
        return any(key.startswith(PLAN) for key in self.changes)

    def _steps_differ(self) -> bool:
        """Whether a step uses other images than before."""
        if self.loader is None:
            return False
        before, now = (
            (
                each['processes'] * each['batch_size'],
                each['images'],
                each['iterations_per_epoch'],
                each.get('repeats', 1),
            )
            for each in (self.loader, describe_loader(self.runner))
        )
        return before != now

    # What would work

    def _refuse(
        self,
        reason: str,
        as_before: tuple[str, str],
        earlier: bool = False,
        other: tuple[str, str] | None = None,
    ) -> NoReturn:
        """Raise, with a command that continues as before and one that does what was asked for.

        Args:
            reason: why the checkpoint cannot be resumed.
            as_before: description and command that continues as before.
            earlier: whether an earlier checkpoint may be what is asked for.
            other: description and command that does what was asked for; by default it starts from
                an earlier checkpoint, or in a new run from these weights.
        """
        path = self._earlier_checkpoint() if earlier else None
        if path:
            other = 'as asked for, from an earlier checkpoint', self._command('--resume', path)
        elif other is None:
            options = ['--cfg-options', f'load_from={self.path}']
            command = self._command(*options, work_dir=f'{self.runner.work_dir}_new')
            other = 'as asked for, in a new run that starts from these weights', command
        raise CheckpointError(
            f'{self.path} cannot be resumed like this: {reason}. Two commands work:\n'
            + '\n'.join(f'  {label}:\n    {command}' for label, command in (as_before, other))
        )

    def _earlier_checkpoint(self) -> Path | None:
        """The last checkpoint of the work directory before this one and within the run."""
        found = []
        for path in Path(self.runner.work_dir).glob('*.pth'):
            if re.fullmatch(r'(epoch|iter)_\d+', path.stem):
                try:
                    meta = open_checkpoint(path)['meta']
                    position = self._position(meta)
                except (CheckpointError, KeyError):
                    continue  # incomplete, or not a checkpoint of a training
                within = position is not None and position < self.runner.max_iters
                if within and meta['iter'] < self.meta['iter']:
                    found.append((position, path))
        return max(found)[1] if found else None

    def _as_before(self, *prefixes: str, processes: int | None = None) -> tuple[str, str]:
        """A label and a command that sets keys with these prefixes to the checkpoint's values."""
        # The rate of the checkpoint's config is already scaled to the batch.
        changes = {
            key: old
            for key, (old, _) in self.changes.items()
            if key.startswith(prefixes) and key != 'optim_wrapper.optimizer.lr'
        }
        options = {k: v for k, v in changes.items() if isinstance(v, str | int | float | None)}
        others = ', '.join(changes.keys() - options.keys())
        label = f'as before, once the config has the former {others}' if others else 'as before'
        options = [f'{key}={value}' for key, value in options.items()]
        options = ['--cfg-options', *options] if options else []
        return label, self._command('--resume', self.path, *options, processes=processes)

    def _command(
        self,
        *arguments: str,
        processes: int | None = None,
        work_dir: str | None = None,
        without: str | None = None,
    ) -> str:
        """The command that started this run, with other arguments in place of ``--resume``."""
        config, given = read_command_line(self.runner.cfg.filename or 'CONFIG')
        if without:
            parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
            parser.add_argument(without)
            given = parser.parse_known_args(given)[1]
        processes = processes or dist.get_world_size()
        if self.runner._launcher == 'slurm':
            names = [os.environ.get(f'SLURM_JOB_{name}', name) for name in ('PARTITION', 'NAME')]
            start = [f'GPUS={processes}', tool('slurm_train.sh'), *names, config]
        elif processes > 1:
            start = [tool('dist_train.sh'), config, processes]
        else:
            start = [tool('train.py'), config]
        folder = ['--work-dir', work_dir or self.runner.work_dir]
        return shlex.join(str(part) for part in (*start, *given, *folder, *arguments))


def replay(
    schedulers: Sequence[_ParamScheduler], iterations: int, epochs: int, epoch_length: int
) -> None:
    """Step new schedules to a position of a training, in the order of the training."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # the optimizer makes no steps here
        for iteration in range(1, iterations + 1):
            for scheduler in schedulers:
                if not scheduler.by_epoch:
                    scheduler.step()
            if iteration % epoch_length == 0 and iteration // epoch_length <= epochs:
                for scheduler in schedulers:
                    if scheduler.by_epoch:
                        scheduler.step()


def describe_loader(runner) -> dict[str, int]:
    """The numbers that give a position in an epoch its meaning."""
    loader = runner.train_dataloader
    return dict(
        processes=dist.get_world_size(),
        batch_size=loader.batch_size or loader.batch_sampler.batch_size,
        images=len(loader.dataset),
        iterations_per_epoch=len(loader),
        repeats=find_repeats(loader.dataset),
    )


def largest_rate(param_groups: Sequence[dict]) -> float:
    """The largest learning rate of all groups."""
    return max(float(group['lr']) for group in param_groups)


def pretrained_of(hooks: Sequence[dict] | None) -> str | None:
    """The checkpoint that the first :class:`LoadBackboneHook` in a list of configs loads."""
    kinds = (hook for hook in hooks or [] if str(hook.get('type')).endswith('LoadBackboneHook'))
    return next((hook['checkpoint'] for hook in kinds), None)


def read_command_line(config: str) -> tuple[str, list[str]]:
    """The config and the options of the command line, if ``tools/train.py`` is running.

    The launcher, the work directory and ``--resume`` are left out.
    """
    if Path(sys.argv[0]).name != 'train.py':
        return config, []
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument('--launcher')
    parser.add_argument('--local_rank', '--local-rank')
    parser.add_argument('--resume', nargs='?')
    parser.add_argument('--work-dir')
    arguments = parser.parse_known_args(sys.argv[1:])[1]
    for index, argument in enumerate(arguments):
        if os.path.abspath(argument) == os.path.abspath(config):
            return argument, arguments[:index] + arguments[index + 1 :]
    return config, arguments

"""A clean exit when the scheduler takes the machine back."""

import functools
import os
import signal
import sys
import threading
from collections.abc import Sequence

import torch
from mmengine import dist
from mmengine.hooks import Hook

from mmmask.registry import HOOKS

from .durable_checkpoint import DurableCheckpointHook

PREEMPTED = 75  # EX_TEMPFAIL of sysexits.h: try again later
SIGNALS = ('SIGTERM', 'SIGUSR1')


def leave_when_told() -> None:
    """Exit with code 75 on SIGTERM and SIGUSR1, until the hook of a training handles them."""
    _let_children_die()
    for name in SIGNALS:
        signal.signal(signal.Signals[name], _leave)


def _leave(number: int, frame) -> None:
    print(
        f'Stopped by {signal.Signals(number).name} outside of training: there is nothing to save. '
        f'Exit code {PREEMPTED}: start again with --resume.',
        file=sys.stderr,
        flush=True,
    )
    raise SystemExit(PREEMPTED)


@HOOKS.register_module()
class PreemptionHook(Hook):
    """On a signal, save a checkpoint after the current step and leave with exit code 75.

    All processes leave after the same step, whichever of them receives the signal. Several
    processes agree by a number that travels between the CPUs while the next step is computed, so
    they leave one step later.

    Args:
        signals: names of signals. Slurm sends SIGUSR1 with ``--signal=USR1@SECONDS`` and SIGTERM
            at the end of the time limit. torchrun forwards the signals named in its options.

    Raises:
        SystemExit: with code 75, after the checkpoint is written.
        ValueError: if there is no :class:`DurableCheckpointHook` to write the checkpoint.
    """

    priority = 'LOWEST'  # after the other hooks of a step, such as checkpoints

    def __init__(self, signals: Sequence[str] = SIGNALS) -> None:
        self.signals = [signal.Signals[name] for name in signals]
        self._former, self._pending = {}, None
        _let_children_die()

    def before_train(self, runner) -> None:
        writers = [hook for hook in runner.hooks if isinstance(hook, DurableCheckpointHook)]
        if not writers:
            raise ValueError(
                'PreemptionHook needs a checkpoint hook that can save within an epoch: set '
                "default_hooks.checkpoint.type='mmmask.DurableCheckpointHook'."
            )
        self._writer, self._received, self._stopping = writers[0], None, False
        if dist.get_world_size() > 1:
            self._group = torch.distributed.new_group(backend='gloo')
        if threading.current_thread() is threading.main_thread():
            self._former = {number: signal.signal(number, self._note) for number in self.signals}

    def _note(self, number: int, frame) -> None:
        self._received = number

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        self._stopping = self._stopping or self._agree()
        # Checkpoints do not contain accumulated gradients.
        if self._stopping and runner.optim_wrapper.should_update():
            self._writer.save_now(runner)
            dist.barrier()
            received = signal.Signals(self._received).name if self._received else 'another process'
            runner.logger.warning(
                f'Stopped by {received} after iteration {runner.iter + 1}. The checkpoint is '
                f'{self._writer.last_ckpt}. Exit code {PREEMPTED}: start again with --resume.'
            )
            runner.visualizer.close()
            if self._pending is not None:
                self._wait()
            raise SystemExit(PREEMPTED)

    def _agree(self) -> bool:
        """Whether any process has received a signal, as all of them know it."""
        if dist.get_world_size() == 1:
            return self._received is not None
        agreed = self._pending is not None and self._wait()
        self._wish = torch.tensor([self._received is not None], dtype=torch.uint8)
        self._pending = torch.distributed.all_reduce(
            self._wish, torch.distributed.ReduceOp.MAX, self._group, async_op=True
        )
        return agreed

    def _wait(self) -> bool:
        self._pending.wait()
        return bool(self._wish)

    def after_train(self, runner) -> None:
        if self._pending is not None:
            self._wait()
        for number, handler in self._former.items():
            signal.signal(number, handler)
        self._former, self._pending = {}, None


@functools.cache  # once per process, because it cannot be undone
def _let_children_die() -> None:
    """Let SIGTERM end forked processes again, because pools of processes end theirs with it.

    Signals wait while a process is forked: Python forgets those that arrive in the new process
    before it is ready.
    """
    hold, release = (
        functools.partial(_mask_signals, how) for how in (signal.SIG_BLOCK, signal.SIG_UNBLOCK)
    )
    os.register_at_fork(before=hold, after_in_parent=release, after_in_child=_forget_in_child)


def _mask_signals(how: int) -> None:
    try:
        signal.pthread_sigmask(how, [signal.Signals[name] for name in SIGNALS])
    except SystemExit as leaving:  # of _leave; Python ignores exceptions while it forks
        os._exit(leaving.code)


def _forget_in_child() -> None:
    for number in signal.valid_signals():
        handler = signal.getsignal(number)
        if handler is _leave or isinstance(getattr(handler, '__self__', None), PreemptionHook):
            signal.signal(number, signal.SIG_DFL)
    _mask_signals(signal.SIG_UNBLOCK)

"""Stop a run that has diverged, with what is needed to find out why."""

import math
from collections import deque
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.structures import BaseDataElement
from torch import Tensor

from mmmask.registry import HOOKS


class Step(NamedTuple):
    """A training step whose losses may still be on their way from the device."""

    iteration: int
    names: list[str]
    values: Tensor
    arrival: torch.cuda.Event | None
    batch: Any

    def arrived(self) -> bool:
        return self.arrival is None or self.arrival.query()


@HOOKS.register_module()
class NonFiniteLossHook(Hook):
    """Stop at the first loss that is NaN or infinite, and save the batch that gave it.

    On a GPU the losses of a step travel to the host while training goes on, and are looked at when
    they have arrived: no step waits for the device unless it lags ``interval`` steps behind. At
    most that many batches are kept. No checkpoint is written before all losses up to it are seen.

    ``<work_dir>/nonfinite/iter_N.pth`` (``iter_N_rank_R.pth`` in other processes than the first)
    opens with ``torch.load(..., weights_only=True)`` and holds ``iteration``, ``losses``,
    ``batch``, ``model`` and ``optimizer``; the last two as they stand when the run stops, hence
    after the update by the offending step.

    Args:
        interval: steps after which to wait for the device.

    Raises:
        FloatingPointError: naming the iteration, the losses and the file.
    """

    priority = 'ABOVE_NORMAL'  # before the logger and the checkpoints

    def __init__(self, interval: int = 50) -> None:
        self.interval = interval
        self._pending: deque[Step] = deque()

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        losses = {name: value for name, value in outputs.items() if isinstance(value, Tensor)}
        values = torch.stack([value.detach().float().mean() for value in losses.values()])
        arrival = None
        if values.is_cuda:
            values = values.to('cpu', non_blocking=True)
            arrival = torch.cuda.Event()
            arrival.record()
        self._pending.append(Step(runner.iter + 1, list(losses), values, arrival, data_batch))
        self._inspect(runner, self.interval)

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        self._inspect(runner, 0)

    def after_train_epoch(self, runner) -> None:
        self._inspect(runner, 0)

    def after_train(self, runner) -> None:
        self._inspect(runner, 0)

    def _inspect(self, runner, max_pending: int) -> None:
        """Look at the steps that have arrived, and wait for those beyond ``max_pending``."""
        while self._pending and (len(self._pending) > max_pending or self._pending[0].arrived()):
            step = self._pending.popleft()
            if step.arrival is not None:
                step.arrival.synchronize()
            losses = dict(zip(step.names, step.values.tolist(), strict=True))
            if not all(map(math.isfinite, losses.values())):
                self._stop(runner, step, losses)

    def _stop(self, runner, step: Step, losses: dict[str, float]) -> None:
        rank = get_rank()
        suffix = f'_rank_{rank}' if rank else ''
        path = Path(runner.work_dir, 'nonfinite', f'iter_{step.iteration}{suffix}.pth')
        path.parent.mkdir(parents=True, exist_ok=True)
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        torch.save(
            dict(
                iteration=step.iteration,
                losses=losses,
                batch=_plain(step.batch),
                model=model.state_dict(),
                optimizer=runner.optim_wrapper.state_dict(),
            ),
            path,
        )
        values = ', '.join(f'{name}={value:g}' for name, value in losses.items())
        raise FloatingPointError(
            f'the loss is not finite at iteration {step.iteration}: {values}. The batch and the '
            f'state are in {path}. Look at that batch for damaged images; else lower the learning '
            'rate, warm up longer, or train with --amp bf16 or --amp off instead of fp16.'
        )


def _plain(value: Any) -> Any:
    """Data samples as dictionaries, so that the file opens without the classes."""
    if isinstance(value, BaseDataElement):
        return {key: _plain(item) for key, item in value.all_items()}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value

"""Steps whose loss is not finite are skipped, counted, and saved for inspection."""

import math
from collections import deque
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.structures import BaseDataElement
from torch import Tensor

from mmmask.checkpoints import write_checkpoint
from mmmask.doctor import tool
from mmmask.evaluation import unwrap
from mmmask.random_state import get_random_state
from mmmask.registry import HOOKS


class Step(NamedTuple):
    """A training step whose losses may not have arrived from the device yet."""

    iteration: int
    names: list[str]
    values: Tensor
    arrival: torch.cuda.Event | None
    batch: Any
    random_state: dict

    def arrived(self) -> bool:
        return self.arrival is None or self.arrival.query()


@HOOKS.register_module()
class NonFiniteLossHook(Hook):
    """Skip steps whose loss or gradient is NaN or infinite, and stop after several in a row.

    A skipped step changes neither weights nor the optimizer's state in any process, because
    gradients are checked after they were averaged over processes. Fused optimizers, which all
    recipes use, and gradient scalers skip on the device. With another optimizer on a GPU the host
    waits for the result of the check.

    On a GPU the losses are copied to the host asynchronously and are checked when they have
    arrived. The host waits only if the device is more than ``interval`` steps behind, and keeps at
    most that many batches. All losses up to a checkpoint are checked before it is written. Each
    process counts its own losses.

    ``<work_dir>/nonfinite/iter_N.pth`` (``iter_N_rank_R.pth`` in processes other than the first) is
    read by ``tools/replay.py``. It contains ``iteration``, ``losses``, ``batch``, ``random_state``,
    ``progress`` of the masks, and ``model`` and ``optimizer`` at the time of the check. On a CPU
    these are the states of the step itself, on a GPU those of a few steps later.

    Args:
        interval: steps after which to wait for the device.
        max_in_a_row: number of consecutive non-finite losses that stops the run.
        max_saved: maximum number of files that a process writes.

    Raises:
        FloatingPointError: naming the iteration, the losses and the file.
    """

    priority = 'ABOVE_NORMAL'  # before the logger and the checkpoints

    def __init__(self, interval: int = 50, max_in_a_row: int = 10, max_saved: int = 5) -> None:
        self.interval = interval
        self.max_in_a_row = max_in_a_row
        self.max_saved = max_saved
        self.skipped = self.in_a_row = 0
        self._saved = 0
        self._pending: deque[Step] = deque()

    def before_train(self, runner) -> None:
        if not runner.iter:
            self.skipped = self.in_a_row = 0
        skip_non_finite_steps(runner.optim_wrapper.optimizer)

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        self._random_state = get_random_state()

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        losses = {name: value for name, value in outputs.items() if isinstance(value, Tensor)}
        values = torch.stack([value.detach().float().mean() for value in losses.values()])
        arrival = None
        if values.is_cuda:
            values = values.to('cpu', non_blocking=True)
            arrival = torch.cuda.Event()
            arrival.record()
        step = Step(runner.iter + 1, list(losses), values, arrival, data_batch, self._random_state)
        self._pending.append(step)
        self._check(runner, self.interval)

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        self._check(runner, 0)
        checkpoint['non_finite'] = dict(skipped=self.skipped, in_a_row=self.in_a_row)

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        for name, count in checkpoint.get('non_finite', {}).items():
            setattr(self, name, count)

    def after_train_epoch(self, runner) -> None:
        self._check(runner, 0)

    def after_train(self, runner) -> None:
        self._check(runner, 0)

    def _check(self, runner, max_pending: int) -> None:
        """Check the steps that have arrived, and wait until at most ``max_pending`` are left."""
        while self._pending and (len(self._pending) > max_pending or self._pending[0].arrived()):
            step = self._pending.popleft()
            if step.arrival is not None:
                step.arrival.synchronize()
            losses = dict(zip(step.names, step.values.tolist(), strict=True))
            if all(map(math.isfinite, losses.values())):
                self.in_a_row = 0
            else:
                self._report(runner, step, losses)

    def _report(self, runner, step: Step, losses: dict[str, float]) -> None:
        self.skipped += 1
        self.in_a_row += 1
        model = unwrap(runner.model)
        values = ', '.join(f'{name}={value:g}' for name, value in losses.items())
        place = self._save(runner, model, step, losses)
        message = f'the loss is not finite at iteration {step.iteration}: {values}. {place} '
        broken = [name for name, value in model.named_buffers() if not value.isfinite().all()]
        if broken:
            raise FloatingPointError(
                f'{message}The buffers {broken[:3]} are not finite, and skipping steps does not '
                'restore them: resume from the last checkpoint with --resume.'
            )
        if self.in_a_row >= self.max_in_a_row:
            raise FloatingPointError(
                f'{message}{self.in_a_row} consecutive steps were non-finite ({self.skipped} in '
                'total). Check the batch for damaged images. If there are none, lower the learning '
                'rate, warm up longer, or use --amp bf16 or --amp off instead of fp16.'
            )
        runner.message_hub.update_scalar('train/skipped_steps', self.skipped)
        runner.logger.warning(
            f'{message}The step was skipped ({self.skipped} in total). {self.in_a_row} consecutive '
            f'steps were non-finite; the run stops at {self.max_in_a_row}.'
        )

    def _save(self, runner, model, step: Step, losses: dict[str, float]) -> str:
        if self._saved >= self.max_saved:
            return f'No file was written: there are {self._saved} already.'
        if hasattr(runner, 'collect'):  # which all processes would have to call
            return 'No file was written, because the state is divided among processes.'
        self._saved += 1
        rank = get_rank()
        suffix = f'_rank_{rank}' if rank else ''
        path = Path(runner.work_dir, 'nonfinite', f'iter_{step.iteration}{suffix}.pth')
        write_checkpoint(
            dict(
                iteration=step.iteration,
                losses=losses,
                batch=_plain(step.batch),
                random_state=step.random_state,
                progress={
                    name: module.progress
                    for name, module in model.named_modules()
                    if hasattr(module, 'set_progress')
                },
                model=model.state_dict(),
                optimizer=runner.optim_wrapper.state_dict(),
            ),
            path,
        )
        return f'The batch and the state are saved in {path}: see {tool("replay.py")}.'


def skip_non_finite_steps(optimizer: torch.optim.Optimizer) -> None:
    """Make the optimizer skip steps whose gradients are not all finite."""
    scales = getattr(optimizer, '_step_supports_amp_scaling', False)

    def check(optimizer, args, kwargs) -> None:
        if getattr(optimizer, 'found_inf', None) is not None:  # a gradient scaler has checked
            return
        gradients = [p.grad for group in optimizer.param_groups for p in group['params']]
        gradients = [gradient for gradient in gradients if gradient is not None]
        parts = [g.to_local() if hasattr(g, 'to_local') else g for g in gradients]
        norms = torch.stack(torch._foreach_norm(parts))
        broken = ~norms.isfinite().all()
        if parts[0] is not gradients[0]:  # divided gradients must be finite in all processes
            broken = broken.float()
            torch.distributed.all_reduce(broken, torch.distributed.ReduceOp.MAX)
            broken = broken.bool()
        if scales:
            optimizer.found_inf, check.is_ours = broken.float(), True
        elif broken:
            optimizer.zero_grad(set_to_none=True)  # optimizers skip parameters without a gradient

    def reset(optimizer, args, kwargs) -> None:
        if check.is_ours:
            optimizer.found_inf, check.is_ours = None, False

    check.is_ours = False
    optimizer.register_step_pre_hook(check)
    optimizer.register_step_post_hook(reset)


def _plain(value: Any) -> Any:
    """Data samples as dictionaries, so that the file can be read without their classes."""
    if isinstance(value, BaseDataElement):
        return {key: _plain(item) for key, item in value.all_items()}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value

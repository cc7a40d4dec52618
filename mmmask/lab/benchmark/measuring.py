"""Time, memory, arithmetic and waiting of any call."""

import ctypes
import platform
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import chain, repeat
from pathlib import Path
from typing import NamedTuple

import torch
from rich.progress import track
from torch import Tensor
from torch.profiler import profile
from torch.utils.flop_counter import FlopCounterMode, flop_registry


def resolve_device(device: str) -> torch.device:
    """The device of a name; ``'auto'`` is a GPU if there is one.

    Raises:
        ValueError: if there is no such device.
    """
    if device == 'auto':
        device = 'cuda' if torch.cuda.is_available() else 'cpu'
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0].rstrip('.')
        raise ValueError(f'--device {device}: {reason}: use auto, cpu or cuda.') from error


def describe_machine(device: torch.device) -> dict:
    """The device, the threads and the version that the figures depend on."""
    name = torch.cuda.get_device_name(device) if device.type == 'cuda' else platform.processor()
    return dict(
        device=f'{device.type} {name or platform.machine()}',
        threads=torch.get_num_threads(),
        torch=torch.__version__,
    )


class Timing(NamedTuple):
    """Median seconds, and median ratio to the first call of the same round."""

    seconds: float
    ratio: float


def interleave(
    calls: Sequence[Callable[[], object]],
    iters: int,
    warmup: int,
    device: torch.device,
    clock: Callable[[], float] | None = None,
) -> list[Timing]:
    """Time calls in rounds of one call each, so that a slow phase of the machine affects all."""
    clock = clock or time.perf_counter
    seconds = [[] for _ in calls]
    for index in track(range(warmup + iters), 'timing', refresh_per_second=1):
        # Rounds alternate in direction, so that no call always follows the same other call.
        for times, call in list(zip(seconds, calls, strict=True))[:: -1 if index % 2 else 1]:
            synchronize(device)
            start = clock()
            call()
            synchronize(device)
            times.append(clock() - start)
    kept = torch.tensor(seconds, dtype=torch.float64)[:, warmup:]
    medians, ratios = kept.quantile(0.5, dim=1), (kept / kept[0]).quantile(0.5, dim=1)
    return [Timing(*pair) for pair in zip(medians.tolist(), ratios.tolist(), strict=True)]


def synchronize(device: torch.device) -> None:
    """Wait until the device has finished."""
    if device.type == 'cuda':
        torch.cuda.synchronize(device)


def matrix_multiplication(
    device: torch.device, dtype: torch.dtype
) -> tuple[Callable[[], Tensor], int]:
    """A multiplication of two large square matrices and its floating-point operations."""
    size = 8192 if device.type == 'cuda' else 2048
    matrix = torch.randn(size, size, device=device, dtype=dtype)
    return partial(torch.mm, matrix, matrix), 2 * size**3


def count_flops(call: Callable[[], object]) -> int:
    """Floating-point operations of the matrix products, convolutions and attentions of a call."""
    for direction in ('', '_backward'):
        known = getattr(torch.ops.aten, f'_scaled_dot_product_flash_attention{direction}')
        on_cpu = getattr(torch.ops.aten, f'_scaled_dot_product_flash_attention_for_cpu{direction}')
        flop_registry.setdefault(on_cpu, flop_registry[known])  # PyTorch lacks the CPU's
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


def utilization(flops: float, seconds: float, ceiling: float) -> float:
    """Fraction of ``ceiling`` operations per second that ``flops`` in ``seconds`` reach."""
    return flops / seconds / ceiling


def peak_memory(call: Callable[[], object], device: torch.device) -> int | None:
    """Bytes by which a call raises the peak of memory; None if the system does not report it."""
    if device.type == 'cuda':
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        call()
        return torch.cuda.max_memory_allocated(device) - before
    try:
        # Blocks that the C library keeps after earlier candidates would not be counted again.
        ctypes.CDLL(None).malloc_trim(0)
        Path('/proc/self/clear_refs').write_text('5')  # Linux: reset the peak
        before = _resident('VmRSS')
    except (OSError, AttributeError, TypeError):
        call()
        return None
    call()
    return _resident('VmHWM') - before


def _resident(field: str) -> int:
    lines = Path('/proc/self/status').read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def waiting_share(
    loader: Iterable, step: Callable[[object], None], iters: int, warmup: int
) -> float:
    """Time spent waiting for batches over the time of ``iters`` iterations after the warm-up."""
    batches, waiting, total = chain.from_iterable(map(iter, repeat(loader))), 0.0, 0.0
    for index in track(range(warmup + iters), 'real data', refresh_per_second=1):
        start = time.perf_counter()
        batch = next(batches)
        arrival = time.perf_counter()
        step(batch)
        if index >= warmup:
            waiting += arrival - start
            total += time.perf_counter() - start
    return waiting / total


def profile_call(call: Callable[[], object], device: torch.device) -> str:
    """Table of the operators that take the longest in one call."""
    with profile(record_shapes=False) as profiler:
        call()
        synchronize(device)
    clock = 'device_time_total' if device.type == 'cuda' else 'cpu_time_total'
    averages = profiler.key_averages()
    parts = ', '.join(
        f'{event.key} {getattr(event, clock) / 1e3:.0f} ms'
        for event in averages
        if event.key.startswith('step: ')
    )
    table = averages.table(sort_by=f'self_{clock}', row_limit=20, max_name_column_width=60)
    return f'{parts}\n{table}'

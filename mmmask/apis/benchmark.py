"""Time, memory and arithmetic of training steps and of components, side by side in one run."""

import ctypes
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope, init_default_scope
from mmengine.runner import Runner
from mmpretrain.models import HOGGenerator
from rich.progress import track
from rich.table import Table
from torch import Tensor
from torch.profiler import profile, record_function
from torch.utils.flop_counter import FlopCounterMode, flop_registry

import mmmask.models  # noqa: F401  registers them, and before any memory is measured
from mmmask.registry import MODELS
from mmmask.targets import HOGTarget

from .benchmark_augmentation import augmentation_calls
from .benchmark_batch import synthetic_batch
from .benchmark_durability import checkpoint_calls, step_calls
from .benchmark_hierarchy import hierarchy_calls
from .benchmark_maskdeep import maskdeep_calls
from .benchmark_swin import swin_calls
from .config_checks import image_sizes
from .config_nodes import find_nodes
from .train import set_defaults, set_precision

DTYPES = dict(off=torch.float32, bf16=torch.bfloat16, fp16=torch.float16)

# mmpretrain's own masked autoencoder, with what mmmask's configs give their optimiser (fused).
MMPRETRAIN_MAE = 'mmpretrain-mae-vit-base'
_MMPRETRAIN_MAE_CONFIG = dict(
    model=dict(
        type='mmpretrain.MAE',
        data_preprocessor=dict(type='mmpretrain.SelfSupDataPreprocessor'),
        backbone=dict(
            type='mmpretrain.MAEViT', arch='b', img_size=224, patch_size=16, mask_ratio=0.75
        ),
        neck=dict(
            type='mmpretrain.MAEPretrainDecoder',
            patch_size=16,
            in_chans=3,
            embed_dim=768,
            decoder_embed_dim=512,
            decoder_depth=8,
            decoder_num_heads=16,
            mlp_ratio=4.0,
        ),
        head=dict(
            type='mmpretrain.MAEPretrainHead',
            norm_pix=True,
            patch_size=16,
            loss=dict(type='mmpretrain.PixelReconstructionLoss', criterion='L2'),
        ),
    ),
    optim_wrapper=dict(
        type='OptimWrapper',
        optimizer=dict(type='AdamW', lr=1.5e-4, betas=(0.9, 0.95), weight_decay=0.05, fused=True),
    ),
)


class Result(NamedTuple):
    """What one candidate costs; None is for what was not asked for or cannot be measured here.

    Attributes:
        name: config or component.
        seconds: median time of a step.
        ratio: median over the rounds of its time over the first candidate's in the same round.
        images_per_second: batch size over that time.
        peak_memory: bytes; on CUDA the tensors of this candidate alone, on CPU the growth of the
            resident set from before it was built.
        flops: floating-point operations of forward and backward, twice the multiply-adds.
        utilization: share of the measured matrix-multiply ceiling that ``flops`` reach in the
            whole step.
        waiting: share of the time of real training that is spent waiting for data.
        profile: the operators that take longest, and the parts of a step.
    """

    name: str
    seconds: float
    ratio: float
    images_per_second: float
    peak_memory: int | None = None
    flops: int | None = None
    utilization: float | None = None
    waiting: float | None = None
    profile: str | None = None


class Report(NamedTuple):
    """Results of one run, the machine, and its matrix-multiply ceiling in operations a second."""

    results: list[Result]
    machine: dict
    ceiling: float | None = None


class TrainingStep:
    """One optimiser step of a config on the same synthetic batch: loss, backward, update.

    Args:
        cfg: config with ``model`` and ``optim_wrapper``.
        images: (B, C, H, W) on the device to train on, as the network sees them.
        amp: one of ``DTYPES``.
    """

    def __init__(self, cfg: Config, images: Tensor, amp: str = 'off') -> None:
        # bf16 needs no gradient scaler, which mmengine's wrapper would build and CPUs lack.
        set_precision(cfg, 'fp16' if amp == 'fp16' else 'off')
        with DefaultScope.overwrite_default_scope(cfg.get('default_scope') or 'mmmask'):
            self.model = MODELS.build(cfg.model)
        self.model.init_weights()
        self.model.to(images.device).train()
        # Masks that evolve are those of half the training, so that their parser has to run.
        for module in self.model.modules():
            if hasattr(module, 'set_progress'):
                module.set_progress(0.5)
        self.optim_wrapper = build_optim_wrapper(self.model, cfg.optim_wrapper)
        self.batch = synthetic_batch(self.model, images)
        self.device = images.device
        self.autocast = partial(
            torch.autocast, images.device.type, DTYPES[amp], enabled=amp != 'off'
        )

    def loss(self, batch: dict) -> Tensor:
        """Preprocessed batch -> scalar loss."""
        with self.autocast():
            losses = self.model(**batch, mode='loss')
        return self.model.parse_losses(losses)[0]

    def __call__(self, batch: dict | None = None) -> None:
        with record_function('step: loss'):
            loss = self.loss(batch or self.batch)
        with record_function('step: backward'):
            self.optim_wrapper.backward(loss)
        with record_function('step: update'):
            self.optim_wrapper.step()
            self.optim_wrapper.zero_grad()

    def on_raw_batch(self, batch: dict) -> None:
        """One step on what a data loader gives, including its way to the device."""
        self(self.model.data_preprocessor(batch, training=True))

    def count_flops(self) -> int:
        """Floating-point operations of loss and backward."""
        flops = count_flops(lambda: self.loss(self.batch).backward())
        self.optim_wrapper.zero_grad()
        return flops


def benchmark_configs(
    configs: Sequence[str],
    batch_size: int = 16,
    img_size: int | None = None,
    iters: int = 10,
    warmup: int = 2,
    amp: str = 'off',
    device: str = 'auto',
    data: bool = False,
    profiled: bool = False,
) -> Report:
    """Time full training steps of several configs in turn, and a matrix multiplication with them.

    In every round each config takes one step, so a machine that slows down slows down all alike and
    the ratios stay honest.

    Args:
        configs: config files, or ``MMPRETRAIN_MAE`` for mmpretrain's own model.
        batch_size: images a step; with ``data`` the loaders use it too.
        img_size: side of the images; the backbone's ``img_size`` by default.
        iters: rounds that count.
        warmup: rounds before them.
        amp: ``'off'``, ``'bf16'`` or ``'fp16'``.
        device: ``'cpu'``, ``'cuda'``, or ``'auto'`` for a GPU where there is one.
        data: also run each config's own data loader and measure the time spent waiting for it.
        profiled: also profile one step of each.

    Raises:
        ValueError: for fp16 on a CPU.
    """
    device = resolve_device(device)
    if amp == 'fp16' and device.type == 'cpu':
        raise ValueError("amp='fp16' needs a GPU: choose 'bf16' or 'off' on a CPU.")
    init_default_scope('mmmask')
    MMLogger.get_current_instance().setLevel('WARNING')  # else every initialised tensor is listed
    read = [read_config(name, img_size) for name in configs]
    # Libraries that load on first use must not count as memory of the first candidate.
    TrainingStep(read[0], torch.randn(2, 3, *image_size(read[0]), device=device), amp)()
    steps, memory = [], []
    for cfg in track(read, 'building and first steps'):
        images = torch.randn(batch_size, 3, *image_size(cfg), device=device)

        def build(cfg=cfg, images=images) -> None:
            steps.append(TrainingStep(cfg, images, amp))
            for _ in range(2):  # the second has the optimiser's state from its start
                steps[-1]()

        memory.append(peak_memory(build, device))
    flops = [step.count_flops() for step in steps]

    multiply, multiply_flops = matrix_multiplication(device, DTYPES[amp])
    *timings, (multiply_seconds, _) = interleave([*steps, multiply], iters, warmup, device)
    ceiling = multiply_flops / multiply_seconds
    results = [
        Result(
            Path(name).stem,
            *timing,
            batch_size / timing.seconds,
            memory[index],
            flops[index],
            utilization(flops[index], timing.seconds, ceiling),
            measure_waiting(read[index], steps[index], batch_size, iters, warmup) if data else None,
            profile_call(steps[index], device) if profiled else None,
        )
        for index, (name, timing) in enumerate(zip(configs, timings, strict=True))
    ]
    settings = dict(batch_size=batch_size, amp=amp, image_sizes=[image_size(cfg) for cfg in read])
    return Report(results, describe_machine(device) | settings, ceiling)


def benchmark_component(
    name: str,
    batch_size: int = 16,
    img_size: int | None = None,
    iters: int = 10,
    warmup: int = 2,
    device: str = 'auto',
) -> Report:
    """Time a component and its alternatives in turn; ratios are to the component itself.

    Args:
        name: key of ``COMPONENTS``.
        batch_size: images a call.
        img_size: side of the images, 224 by default.
        iters: rounds that count.
        warmup: rounds before them.
        device: ``'cpu'``, ``'cuda'`` or ``'auto'``.
    """
    device, size = resolve_device(device), img_size or 224
    calls = COMPONENTS[name](batch_size, size, device)
    memory = [peak_memory(call, device) for call in calls.values()]
    timings = interleave(list(calls.values()), iters, warmup, device)
    results = [
        Result(label, *timing, batch_size / timing.seconds, peak)
        for label, timing, peak in zip(calls, timings, memory, strict=True)
    ]
    settings = dict(batch_size=batch_size, image_sizes=[(size, size)])
    return Report(results, describe_machine(device) | settings)


class _PlainHOG(HOGGenerator):
    """mmpretrain's generator without its last step, which takes a grid of 14x14 for granted."""

    def _reshape(self, histograms: Tensor) -> Tensor:
        return histograms.flatten(3).flatten(1, 2).transpose(1, 2)


def hog_calls(batch_size: int, img_size: int, device: torch.device) -> dict[str, Callable]:
    """HOG of four scales at once, scale by scale, and scale by scale as mmpretrain computes it."""
    images = torch.randn(batch_size, 3, img_size, img_size, device=device)
    cell_sizes = (4, 8, 16, 32)
    together = HOGTarget(9, cell_sizes)
    alone = [HOGTarget(9, size) for size in cell_sizes]
    plain = [_PlainHOG(9, size, gaussian_window=0).to(device) for size in cell_sizes]
    return {
        'one HOGTarget of four scales': lambda: together(images),
        'four HOGTargets of one scale': lambda: [target(images) for target in alone],
        "four of mmpretrain's HOGGenerator": lambda: [target(images) for target in plain],
    }


# name -> function of batch size, image size and device that gives named calls; the first of them is
# the component, the others are what it is compared with.
COMPONENTS = dict(
    augmentation=augmentation_calls,
    checkpoint=checkpoint_calls,
    hierarchy=hierarchy_calls,
    hog=hog_calls,
    maskdeep=maskdeep_calls,
    step=step_calls,
    swin=swin_calls,
)


def read_config(name: str, img_size: int | None = None) -> Config:
    """A config file, or mmpretrain's masked autoencoder, for images of another size if given."""
    cfg = Config(_MMPRETRAIN_MAE_CONFIG) if name == MMPRETRAIN_MAE else Config.fromfile(name)
    if img_size:
        owner = cfg.model.backbone if 'img_size' in cfg.model.backbone else cfg
        owner.img_size = img_size
    return cfg


def image_size(cfg: Config) -> tuple[int, int]:
    """(H, W) that the backbone of a config is built for.

    Raises:
        ValueError: if the backbone does not say.
    """
    size = cfg.model.backbone.get('img_size') or cfg.get('img_size')
    if size is None:  # of an encoder for images of any size
        size = next(iter(image_sizes(find_nodes(dict(cfg.items()))).values()), None)
    if size is None:
        raise ValueError('model.backbone.img_size is not set: give --img-size.')
    return (size, size) if isinstance(size, int) else tuple(size)


def resolve_device(device: str) -> torch.device:
    """The device of a name, where ``'auto'`` is a GPU if there is one."""
    if device == 'auto':
        device = 'cuda' if torch.cuda.is_available() else 'cpu'
    return torch.device(device)


def describe_machine(device: torch.device) -> dict:
    """What the figures depend on."""
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
    calls: Sequence[Callable[[], object]], iters: int, warmup: int, device: torch.device
) -> list[Timing]:
    """Time calls in rounds of one call each, so that what slows the machine slows all of them."""
    seconds = [[] for _ in calls]
    for index in track(range(warmup + iters), 'timing', refresh_per_second=1):
        # Forth and back in turn: what runs before a call, and so the caches it finds, evens out.
        for times, call in list(zip(seconds, calls, strict=True))[:: -1 if index % 2 else 1]:
            synchronize(device)
            start = time.perf_counter()
            call()
            synchronize(device)
            times.append(time.perf_counter() - start)
    kept = torch.tensor(seconds, dtype=torch.float64)[:, warmup:]
    medians, ratios = kept.quantile(0.5, dim=1), (kept / kept[0]).quantile(0.5, dim=1)
    return [Timing(*pair) for pair in zip(medians.tolist(), ratios.tolist(), strict=True)]


def synchronize(device: torch.device) -> None:
    """Wait for what was given to the device."""
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
        flop_registry.setdefault(on_cpu, flop_registry[known])  # PyTorch forgets the CPU's
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


def utilization(flops: float, seconds: float, ceiling: float) -> float:
    """Share of ``ceiling`` operations a second that ``flops`` in ``seconds`` reach."""
    return flops / seconds / ceiling


def peak_memory(call: Callable[[], object], device: torch.device) -> int | None:
    """Bytes by which a call raises the peak of memory; None where the system does not tell."""
    if device.type == 'cuda':
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        call()
        return torch.cuda.max_memory_allocated(device) - before
    try:
        # Else blocks that earlier candidates freed but the C library keeps would come for nothing.
        ctypes.CDLL(None).malloc_trim(0)
        Path('/proc/self/clear_refs').write_text('5')  # Linux: forget the peak so far
        before = _resident('VmRSS')
    except (OSError, AttributeError, TypeError):
        call()
        return None
    call()
    return _resident('VmHWM') - before


def _resident(field: str) -> int:
    lines = Path('/proc/self/status').read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def measure_waiting(
    cfg: Config, step: TrainingStep, batch_size: int, iters: int, warmup: int
) -> float | None:
    """Share of the time of real training that waits for the config's own data loader."""
    if 'train_dataloader' not in cfg:
        return None
    set_defaults(cfg)
    cfg.train_dataloader.batch_size = batch_size
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope') or 'mmmask'):
        loader = Runner.build_dataloader(cfg.train_dataloader)
    # What the workers prefetched while the first batch was on its way says nothing of their speed.
    prefetched = loader.num_workers * (loader.prefetch_factor or 0)
    device = step.device

    def run(batch: dict) -> None:
        step.on_raw_batch(batch)
        synchronize(device)

    return waiting_share(loader, run, iters, max(warmup, prefetched))


def waiting_share(
    loader: Iterable, step: Callable[[object], None], iters: int, warmup: int
) -> float:
    """Time spent waiting for batches over the time of ``iters`` iterations after the warm-up."""

    def endless() -> Iterator:
        while True:
            yield from loader

    batches, waiting, total = endless(), 0.0, 0.0
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


def make_table(report: Report) -> Table:
    """The results as a table, one candidate a row; columns without any figure are left out."""

    def percent(share: float | None) -> str:
        return '' if share is None else f'{share:.1%}'

    results = report.results
    columns = {
        'step': [f'{result.seconds * 1e3:,.1f} ms' for result in results],
        'ratio': [f'{result.ratio:.3f}' for result in results],
        'images/s': [f'{result.images_per_second:,.1f}' for result in results],
        'peak memory': [
            '' if result.peak_memory is None else f'{result.peak_memory / 2**20:,.0f} MiB'
            for result in results
        ],
        'GFLOP/step': [
            '' if result.flops is None else f'{result.flops / 1e9:,.1f}' for result in results
        ],
        'of ceiling': [percent(result.utilization) for result in results],
        'waiting for data': [percent(result.waiting) for result in results],
    }
    caption = '; '.join(f'{key} {value}' for key, value in report.machine.items())
    if report.ceiling:
        caption += f'; matrix-multiply ceiling {report.ceiling / 1e9:,.0f} GFLOP/s'
    columns = {name: cells for name, cells in columns.items() if any(cells)}
    table = Table('', caption=caption)
    for name in columns:
        table.add_column(name, justify='right')
    for result, *cells in zip(results, *columns.values(), strict=True):
        table.add_row(result.name, *(cell or '-' for cell in cells))
    return table

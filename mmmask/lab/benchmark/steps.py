"""Whole training steps of configs, side by side."""

from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from itertools import product
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.model import BaseModel
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope, init_default_scope
from mmengine.runner import Runner
from rich.progress import track
from torch import Tensor
from torch.profiler import record_function
from torch.utils.data import DataLoader

import mmmask.models  # noqa: F401  registers them, and before any memory is measured
from mmmask.apis import validate
from mmmask.apis.classes import share_classes
from mmmask.apis.config_checks import image_sizes
from mmmask.apis.config_nodes import find_nodes
from mmmask.apis.data_checks import check_data
from mmmask.apis.rehearsal import RehearsalError, compare, in_words, take_samples, unchanged
from mmmask.apis.train import set_defaults, set_precision
from mmmask.checkpoints import read_checkpoints_as_data
from mmmask.command_line import MMPRETRAIN_MAE
from mmmask.engine.compiling import compile_blocks
from mmmask.engine.optimizers.processor import processor_autocast
from mmmask.registry import MODELS

from ..replay import PRECISIONS
from .batch import synthetic_batch
from .measuring import (
    count_flops,
    describe_machine,
    interleave,
    matrix_multiplication,
    peak_memory,
    profile_call,
    resolve_device,
    synchronize,
    utilization,
    waiting_share,
)
from .report import Report, Result

# The config that MMPRETRAIN_MAE is a name for.
_MMPRETRAIN_CONFIG = '.mim/configs/mae/mae_vit-base-p16_8xb512-amp-coslr-300e_in1k.py'


class TrainingStep:
    """One optimizer step of a config on the same synthetic batch: loss, backward, update.

    Args:
        cfg: config with ``model`` and ``optim_wrapper``.
        images: (B, C, H, W) on the device to train on, as the network sees them.
        amp: one of ``PRECISIONS``.
        compiled: compile the transformer blocks.

    Raises:
        ValueError: if there is nothing to compile.
    """

    def __init__(
        self, cfg: Config, images: Tensor, amp: str = 'off', compiled: bool = False
    ) -> None:
        # bf16 needs no gradient scaler, which mmengine's wrapper would build and CPUs lack.
        set_precision(cfg, 'fp16' if amp == 'fp16' else 'off')
        with DefaultScope.overwrite_default_scope(cfg.get('default_scope') or 'mmmask'):
            self.model = MODELS.build(cfg.model)
        read_checkpoints_as_data()  # for an init_cfg of type Pretrained
        self.model.init_weights()
        self.model.to(images.device).train()
        # Evolved masks are those half-way through training, so that their parser has to run.
        for module in self.model.modules():
            if hasattr(module, 'set_progress'):
                module.set_progress(0.5)
        self.optim_wrapper = build_optim_wrapper(self.model, cfg.optim_wrapper)
        if compiled and not compile_blocks(self.model):
            raise ValueError(
                f'--compile needs transformer blocks, but {type(self.model.backbone).__name__} and '
                'its decoder have none: leave it out for this config.'
            )
        self.batch = synthetic_batch(self.model, images)
        self.device = images.device
        if amp != 'off' and images.device.type == 'cpu':
            self.autocast = processor_autocast
        else:
            self.autocast = partial(
                torch.autocast, images.device.type, PRECISIONS[amp], enabled=amp != 'off'
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
        """One step on a batch of a data loader, including its transfer to the device."""
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
    compiled: bool = False,
) -> Report:
    """Time full training steps of several configs in turn, and a matrix multiplication with them.

    In every round each config takes one step, so a machine that slows down affects all of them
    alike and the ratios remain valid.

    Args:
        configs: config files, or ``MMPRETRAIN_MAE`` for mmpretrain's own model.
        batch_size: images per step, also of the data loaders.
        img_size: side of the images; the backbone's ``img_size`` by default.
        iters: rounds that are measured.
        warmup: rounds before them.
        amp: ``'off'``, ``'bf16'`` or ``'fp16'``.
        device: ``'cpu'``, ``'cuda'``, or ``'auto'`` for a GPU if there is one.
        data: also run each config's own data loader and measure the time spent waiting for it.
        profiled: also profile one step of each.
        compiled: also measure each with compiled transformer blocks.

    Raises:
        ValueError: for fp16 on a CPU, if there is nothing to compile, or if the parts of a config
            contradict each other.
        RehearsalError: before anything is measured, if data that are read contradict the network.
    """
    device = resolve_device(device)
    if amp == 'fp16' and device.type == 'cpu':
        raise ValueError("amp='fp16' needs a GPU: choose 'bf16' or 'off' on a CPU.")
    init_default_scope('mmmask')
    MMLogger.get_current_instance().setLevel('WARNING')  # no list of initialized tensors
    names, flags = zip(*product(configs, (False, True) if compiled else (False,)), strict=True)
    read = [read_config(name, img_size, data) for name in names]
    # Libraries that load on first use must not count as memory of the first candidate.
    TrainingStep(read[0], synthetic_images(read[0], 2, device), amp)()
    steps, memory = [], []
    for cfg, flag in track([*zip(read, flags, strict=True)], 'building and first steps'):
        images = synthetic_images(cfg, batch_size, device)

        def build(cfg=cfg, images=images, flag=flag) -> None:
            steps.append(TrainingStep(cfg, images, amp, flag))
            for _ in range(2):  # the second has the optimizer's state from its start
                steps[-1]()

        memory.append(peak_memory(build, device))
    loaders = [
        build_loader(cfg, step.model, batch_size) if data else None
        for cfg, step in zip(read, steps, strict=True)
    ]
    flops = [step.count_flops() for step in steps]

    multiply, multiply_flops = matrix_multiplication(device, PRECISIONS[amp])
    *timings, (multiply_seconds, _) = interleave([*steps, multiply], iters, warmup, device)
    ceiling = multiply_flops / multiply_seconds
    results = [
        Result(
            Path(name).stem + (', compiled' if flags[index] else ''),
            *timing,
            batch_size / timing.seconds,
            memory[index],
            flops[index],
            utilization(flops[index], timing.seconds, ceiling),
            loaders[index] and measure_waiting(loaders[index], steps[index], iters, warmup),
            profile_call(steps[index], device) if profiled else None,
        )
        for index, (name, timing) in enumerate(zip(names, timings, strict=True))
    ]
    settings = dict(batch_size=batch_size, amp=amp, image_sizes=[image_size(cfg) for cfg in read])
    return Report(results, describe_machine(device) | settings, ceiling)


def read_config(name: str, img_size: int | None = None, reads_images: bool = False) -> Config:
    """A config file, or mmpretrain's masked autoencoder, for images of another size if given.

    Raises:
        ConfigError: if the parts of the config contradict each other, or if images are read and
            missing.
    """
    if name == MMPRETRAIN_MAE:
        cfg = mmpretrain_mae()
    else:
        cfg = validate.read_config(name)
        validate.validate_config(cfg, reads_images)
    if img_size:
        owner = cfg.model.backbone if 'img_size' in cfg.model.backbone else cfg
        owner.img_size = img_size
    return cfg


def mmpretrain_mae() -> Config:
    """mmpretrain's masked autoencoder without data, with the optimizer of mmmask (fused)."""
    model = Config.fromfile(Path(find_spec('mmpretrain').origin).parent / _MMPRETRAIN_CONFIG).model
    model._scope_ = 'mmpretrain'
    model.backbone.img_size = 224
    adamw = dict(type='AdamW', lr=1.5e-4, betas=(0.9, 0.95), weight_decay=0.05, fused=True)
    return Config(dict(model=model, optim_wrapper=dict(type='OptimWrapper', optimizer=adamw)))


def image_size(cfg: Config) -> tuple[int, int]:
    """(H, W) that the backbone of a config is built for.

    Raises:
        ValueError: if the config does not state it.
    """
    size = cfg.model.backbone.get('img_size') or cfg.get('img_size')
    if size is None:  # an encoder for images of any size
        size = next(iter(image_sizes(find_nodes(dict(cfg.items()))).values()), None)
    if size is None:
        raise ValueError('model.backbone.img_size is not set: give --img-size.')
    return (size, size) if isinstance(size, int) else tuple(size)


def synthetic_images(cfg: Config, batch_size: int, device: torch.device) -> Tensor:
    """(B, C, H, W) noise of the size and channels that the backbone of a config is built for."""
    channels = cfg.model.backbone.get('in_channels', 3)
    return torch.randn(batch_size, channels, *image_size(cfg), device=device)


def build_loader(cfg: Config, model: BaseModel, batch_size: int) -> DataLoader | None:
    """The data loader of a config's training, compared with its network as before a training.

    Raises:
        ValueError: if its files do not fit the config.
        RehearsalError: if its images or labels do not fit the network.
    """
    if 'train_dataloader' not in cfg:
        return None
    set_defaults(cfg)
    cfg.train_dataloader.batch_size = batch_size
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope') or 'mmmask'):
        share_classes(cfg)
        check_data(cfg)
        loader = Runner.build_dataloader(cfg.train_dataloader)
    with unchanged(model):
        problems = [*compare(model, take_samples(dict(train_dataloader=loader)))]
    if problems:
        raise RehearsalError(in_words(problems))
    return loader


def measure_waiting(loader: DataLoader, step: TrainingStep, iters: int, warmup: int) -> float:
    """Fraction of the time of real training spent waiting for a data loader."""
    # Batches that were prefetched during the start of the workers do not show their speed.
    prefetched = loader.num_workers * (loader.prefetch_factor or 0)
    device = step.device

    def run(batch: dict) -> None:
        step.on_raw_batch(batch)
        synchronize(device)

    return waiting_share(loader, run, iters, max(warmup, prefetched))

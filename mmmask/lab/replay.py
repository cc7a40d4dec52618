"""Repeat a step with a non-finite loss, and find the module in which it began."""

import os
from typing import NamedTuple

import torch
from mmengine.registry import init_default_scope
from torch import Tensor, nn

from mmmask.apis.validate import read_config
from mmmask.checkpoints import CheckpointError, open_checkpoint
from mmmask.random_state import set_random_state
from mmmask.registry import MODELS

PARTS = {'iteration', 'losses', 'batch', 'random_state', 'progress', 'model', 'optimizer'}
PRECISIONS = dict(off=torch.float32, bf16=torch.bfloat16, fp16=torch.float16)


class Replay(NamedTuple):
    """The result of a replay.

    Attributes:
        iteration: number of the step in its run.
        recorded, losses: its losses in the run and in the replay.
        origin: the first module with finite inputs and a non-finite output, if any.
        broken_weights: parameters and buffers that are not finite.
        images: paths of the images of the batch, if the data contain them.
    """

    iteration: int
    recorded: dict[str, float]
    losses: dict[str, float]
    origin: str | None
    broken_weights: list[str]
    images: list[str]


def replay(
    config: str | os.PathLike, path: str | os.PathLike, amp: str = 'off', device: str = 'cpu'
) -> Replay:
    """Repeat a step that ``mmmask.NonFiniteLossHook`` saved, with the same random numbers.

    Args:
        config: config of the pre-training; the file contains none.
        path: file below ``nonfinite/`` of the work directory.
        amp: precision of the run, a key of ``PRECISIONS``.
        device: ``'cpu'`` or ``'cuda'``.

    Raises:
        CheckpointError: if the file is not such a step, or is of another model.
    """
    record = open_checkpoint(path)
    if PARTS - record.keys():
        raise CheckpointError(
            f'{path} lacks {sorted(PARTS - record.keys())}: give a file that NonFiniteLossHook '
            "saved under 'nonfinite' in the work directory."
        )
    cfg = read_config(config)
    init_default_scope(cfg.get('default_scope', 'mmmask'))
    model = MODELS.build(cfg.model).to(device).train()
    try:
        model.load_state_dict(record['model'])
    except RuntimeError as error:
        raise CheckpointError(f'{path} is not of the model in {config}: {error}') from error
    modules = dict(model.named_modules())
    for name, progress in record['progress'].items():
        modules[name].set_progress(progress)

    data = model.data_preprocessor(record['batch'], True)
    set_random_state(record['random_state'])
    origin = FirstBroken(model)
    with torch.no_grad(), torch.autocast(device, PRECISIONS[amp], enabled=amp != 'off'):
        losses = model(**data, mode='loss')
    _, values = model.parse_losses(losses)
    samples = record['batch'].get('data_samples') or []
    return Replay(
        record['iteration'],
        record['losses'],
        {name: float(value) for name, value in values.items()},
        origin.name,
        [name for name, value in model.state_dict().items() if not is_finite(value)],
        [sample['img_path'] for sample in samples if 'img_path' in sample],
    )


class FirstBroken:
    """Hooks on all modules; ``name`` is the first with finite inputs and a non-finite output."""

    def __init__(self, model: nn.Module) -> None:
        self.name: str | None = None
        for name, module in model.named_modules():
            module.register_forward_hook(
                lambda _, inputs, output, name=name: self._check(name, inputs, output)
            )

    def _check(self, name: str, inputs, output) -> None:
        if self.name is None and is_finite(inputs) and not is_finite(output):
            self.name = name or 'the model itself, after its modules'


def is_finite(value) -> bool:
    """Whether all floating-point numbers in tensors, nested or not, are finite."""
    if isinstance(value, Tensor):
        return not value.is_floating_point() or bool(value.isfinite().all())
    if isinstance(value, dict):
        return is_finite(list(value.values()))
    if isinstance(value, list | tuple):
        return all(map(is_finite, value))
    return True

"""What to do if a step of a training does not fit into the memory."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.runner import Runner


class OutOfMemory(ValueError):
    """The memory of a device does not suffice. The message says how to need less."""


@contextmanager
def explained_memory(runner: Runner) -> Iterator[None]:
    """Turn PyTorch's error about memory into one that names keys of the config.

    Raises:
        OutOfMemory: if the memory of the GPU or the machine does not suffice for the block.
    """
    try:
        yield
    except RuntimeError as error:
        on_gpu = isinstance(error, torch.cuda.OutOfMemoryError)
        if not on_gpu and "DefaultCPUAllocator: can't allocate" not in str(error):
            raise
        asked = re.search(r'[Tt]ried to allocate ([\d.]+ \w+)', str(error))
        place = 'GPU' if on_gpu else 'machine'
        place += f' (tried to allocate {asked[1]})' if asked else ''
        raise OutOfMemory(_advise(runner, place)) from error


def _advise(runner: Runner, place: str) -> str:
    if not runner.model.training:
        return (
            f'the evaluation does not fit into the memory of the {place}: set a smaller batch_size '
            'in val_dataloader, or in the hook that measures features.'
        )
    batch, steps = runner.train_dataloader.batch_size, runner.optim_wrapper._accumulative_counts
    images = f'{batch} image{"s" if batch > 1 else ""}'
    text = f'a step of {images} does not fit into the memory of the {place}: '
    if batch > 1:
        text += (
            f'set train_dataloader.batch_size={batch // 2} and '
            f'optim_wrapper.accumulative_counts={2 * steps}, so that an update of the weights '
            f'still follows from {batch // 2 * 2 * steps} images of each process, or '
        )
    return text + 'choose a smaller model or smaller images.'

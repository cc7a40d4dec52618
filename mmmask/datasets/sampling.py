"""The order of images and the seeds of their augmentations, at every position of a run."""

import hashlib
import random
import struct
from collections.abc import Iterator
from itertools import islice
from math import ceil
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.dataset import DefaultSampler, InfiniteSampler
from torch.utils.data import BatchSampler, Dataset, Sampler, get_worker_info

from mmmask.registry import DATA_SAMPLERS, DATASETS

from .wrapping import innermost


class Draw(NamedTuple):
    """A sample of an epoch: the index of its image, and the seed of its augmentation."""

    index: int
    seed: tuple[int, ...]


@DATA_SAMPLERS.register_module()
class ResumableSampler(DefaultSampler):
    """mmengine's ``DefaultSampler`` that can start in the middle of an epoch.

    It yields a :class:`Draw` for a :class:`SeededDataset`. The seed consists of the sampler's seed,
    the epoch, and the position in the epoch's order over all processes. An augmentation depends
    neither on the worker that computes it nor on what was loaded before, nor on the number of
    processes.

    If the data set has ``repeats`` R above 1, each image comes R times in a row, in one process. An
    epoch of N samples then shows a part of N / R images, and R epochs go once through a random
    order of all of them.
    """

    start = 0

    def __iter__(self) -> Iterator[Draw]:
        first, self.start = self.start, 0
        repeats = find_repeats(self.dataset)
        cycle, part = divmod(self.epoch, repeats)
        generator = torch.Generator().manual_seed(self.seed + cycle)
        num_images = len(self.dataset)
        order = (
            torch.randperm(num_images, generator=generator)
            if self.shuffle
            else torch.arange(num_images)
        ).tolist()
        begin = part * ceil(num_images / repeats)
        for step in range(first, self.num_samples):
            group = step // repeats * self.world_size + self.rank
            position = group * repeats + step % repeats
            yield Draw(order[(begin + group) % num_images], (self.seed, self.epoch, position))

    def skip(self, num_samples: int) -> None:
        """Start the next epoch after so many samples of this process, without loading them."""
        self.start = num_samples


@DATA_SAMPLERS.register_module()
class ResumableInfiniteSampler(InfiniteSampler):
    """mmengine's ``InfiniteSampler`` that can start anywhere.

    It yields a :class:`Draw` for a :class:`SeededDataset`. The seed consists of the sampler's seed
    and the position in the order over all processes. If the data set has ``repeats`` R above 1,
    each image comes R times in a row.
    """

    start = 0

    def __iter__(self) -> Iterator[Draw]:
        first, self.start = self.start, 0
        repeats = find_repeats(self.dataset)
        samples = (index for index in self._indices_of_rank() for _ in range(repeats))
        for step, index in enumerate(islice(samples, first, None), first):
            group = step // repeats * self.world_size + self.rank
            yield Draw(index, (self.seed, group * repeats + step % repeats))

    def skip(self, num_samples: int) -> None:
        """Start after so many samples of this process, without loading them."""
        self.start = num_samples


def find_repeats(dataset) -> int:
    """How many times in a row an image is shown: the largest ``repeats`` inside of wrappers."""
    return max(getattr(one, 'repeats', 1) for one in innermost(dataset))


@DATA_SAMPLERS.register_module()
class ResumableBatchSampler(BatchSampler):
    """A batch sampler, such as one that groups images by shape, that can start anywhere.

    Args:
        batches: config of the batch sampler.
        sampler: the sampler that gives the indices, and gives the same ones again after a restart.
        batch_size: images per batch.
    """

    start = 0

    def __init__(self, batches: dict, sampler: Sampler, batch_size: int) -> None:
        self.batches = DATA_SAMPLERS.build(
            batches, default_args=dict(sampler=sampler, batch_size=batch_size)
        )
        self.sampler = sampler
        self.batch_size = batch_size

    def __iter__(self) -> Iterator[list[Draw]]:
        first, self.start = self.start, 0
        return islice(self.batches, first, None)

    def __len__(self) -> int:
        return len(self.batches)

    def skip(self, num_batches: int) -> None:
        """Start the next epoch after so many batches, without loading them."""
        self.start = num_batches


@DATASETS.register_module()
class SeededDataset(Dataset):
    """A data set whose sample for a :class:`Draw` depends on that draw alone.

    Python's, NumPy's and PyTorch's random numbers are seeded for each sample. Outside of a worker
    process their states are restored afterwards, because the model uses them. All attributes are
    those of the wrapped data set.

    Args:
        dataset: a data set or its config.
    """

    def __init__(self, dataset) -> None:
        self.dataset = DATASETS.build(dataset) if isinstance(dataset, dict) else dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getattr__(self, name: str) -> Any:
        if name == 'dataset' or name.startswith('__'):  # which pickle and the loader look up
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def get_data_info(self, draw: Draw | int) -> dict:
        """The sample before the pipeline, which samplers that look at shapes ask for."""
        return self.dataset.get_data_info(draw.index if isinstance(draw, Draw) else draw)

    def __getitem__(self, draw: Draw | int) -> Any:
        if not isinstance(draw, Draw):
            return self.dataset[draw]
        if get_worker_info() is not None:
            seed_random_numbers(draw.seed)
            return self.dataset[draw.index]
        states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
        try:
            seed_random_numbers(draw.seed)
            return self.dataset[draw.index]
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])  # noqa: NPY002
            torch.set_rng_state(states[2])


def seed_random_numbers(seed: tuple[int, ...]) -> None:
    """Seed the generators that transforms use, but not those of GPUs."""
    # A hash is much faster than NumPy's SeedSequence, which matters for small images.
    digest = hashlib.blake2b(repr(seed).encode(), digest_size=12).digest()
    for_python, for_numpy, for_torch = struct.unpack('<3I', digest)
    random.seed(for_python)
    np.random.seed(for_numpy)  # noqa: NPY002
    torch.default_generator.manual_seed(for_torch)

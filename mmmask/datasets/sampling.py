"""Which image comes when and with which random numbers, as a function of the place in the run."""

import random
from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.dataset import DefaultSampler, InfiniteSampler
from torch.utils.data import BatchSampler, Dataset, Sampler, get_worker_info

from mmmask.registry import DATA_SAMPLERS, DATASETS


class Draw(NamedTuple):
    """An image of an epoch: its index, and what its augmentation is seeded with."""

    index: int
    seed: tuple[int, ...]


@DATA_SAMPLERS.register_module()
class ResumableSampler(DefaultSampler):
    """mmengine's ``DefaultSampler`` that can start in the middle of an epoch.

    It yields :class:`Draw` for a :class:`SeededDataset`. The seed is made of the sampler's, the
    epoch and the position in the epoch's order over all processes: an augmentation depends neither
    on the worker that does it nor on what was loaded before, nor on the number of processes.
    """

    start = 0

    def __iter__(self) -> Iterator[Draw]:
        first, self.start = self.start, 0
        for step, index in enumerate(list(super().__iter__())[first:], first):
            yield Draw(index, (self.seed, self.epoch, step * self.world_size + self.rank))

    def skip(self, num_samples: int) -> None:
        """Let the next epoch begin after so many samples of this process, without loading them."""
        self.start = num_samples


@DATA_SAMPLERS.register_module()
class ResumableInfiniteSampler(InfiniteSampler):
    """mmengine's ``InfiniteSampler`` that can start anywhere.

    It yields :class:`Draw` for a :class:`SeededDataset`, seeded by the sampler's seed and the
    position in the order over all processes.
    """

    start = 0

    def __iter__(self) -> Iterator[Draw]:
        first, self.start = self.start, 0
        for step, index in enumerate(islice(self._indices_of_rank(), first, None), first):
            yield Draw(index, (self.seed, step * self.world_size + self.rank))

    def skip(self, num_samples: int) -> None:
        """Begin after so many samples of this process, without loading them."""
        self.start = num_samples


@DATA_SAMPLERS.register_module()
class ResumableBatchSampler(BatchSampler):
    """A batch sampler, such as one that groups images by shape, that can start anywhere.

    Args:
        batches: config of the batch sampler.
        sampler: what it draws from, which is able to repeat itself.
        batch_size: images of a batch.
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
        """Let the next epoch begin after so many batches, without loading them."""
        self.start = num_batches


@DATASETS.register_module()
class SeededDataset(Dataset):
    """A data set whose sample for a :class:`Draw` is a function of that draw alone.

    Python's, NumPy's and PyTorch's random numbers are seeded for each sample. Outside of a worker
    they get their states back after it, for the model draws from them. Everything else, attributes
    too, is the data set's own.

    Args:
        dataset: config of a data set, or one that is built.
    """

    def __init__(self, dataset) -> None:
        self.dataset = DATASETS.build(dataset) if isinstance(dataset, dict) else dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getattr__(self, name: str) -> Any:
        if name == 'dataset' or name.startswith('__'):  # asked for by pickle and by the loader
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def get_data_info(self, draw: Draw | int) -> dict:
        """What samplers that look at images' shapes ask for."""
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
    """Seed the generators that transforms draw from; those of GPUs stay."""
    words = np.random.SeedSequence(seed).generate_state(3)
    random.seed(int(words[0]))
    np.random.seed(words[1])  # noqa: NPY002
    torch.default_generator.manual_seed(int(words[2]))

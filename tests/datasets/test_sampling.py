"""Samplers that go on from anywhere, and seed what they draw."""

from itertools import islice

import numpy as np
import pytest
from mmengine.dataset import InfiniteSampler
from mmengine.registry import DATA_SAMPLERS as ROOT_SAMPLERS
from torch.utils.data import BatchSampler

from mmmask.datasets import (
    Draw,
    ResumableBatchSampler,
    ResumableInfiniteSampler,
    ResumableSampler,
    SeededDataset,
)


class Shapes:
    """Ten images, every third one upright; a sample is its index and a random number."""

    def __len__(self):
        return 10

    def __getitem__(self, index):
        return index, np.random.default_rng(np.random.randint(1 << 30)).random()  # noqa: NPY002

    def get_data_info(self, index):
        return dict(upright=index % 3 == 0)


@ROOT_SAMPLERS.register_module(force=True)
class ByShape(BatchSampler):
    """Batches of images that are all upright or all not; what is left over comes last."""

    def __iter__(self):
        groups = {True: [], False: []}
        for draw in self.sampler:
            group = groups[self.sampler.dataset.get_data_info(draw)['upright']]
            group.append(draw)
            if len(group) == self.batch_size:
                yield group[:]
                group.clear()
        yield groups[True] + groups[False]

    def __init__(self, sampler, batch_size):
        super().__init__(sampler, batch_size, drop_last=False)


@pytest.fixture
def dataset():
    return SeededDataset(Shapes())


def test_infinite_sampler(dataset):
    sampler = ResumableInfiniteSampler(dataset, seed=5)
    draws = list(islice(sampler, 25))
    assert [draw.index for draw in draws] == list(islice(InfiniteSampler(dataset, seed=5), 25))
    assert [draw.seed for draw in draws] == [(5, position) for position in range(25)]
    sampler.skip(13)
    assert list(islice(sampler, 12)) == draws[13:]


def test_infinite_sampler_of_two_processes(dataset):
    def process(rank):
        sampler = ResumableInfiniteSampler(dataset, seed=5)
        sampler.rank, sampler.world_size = rank, 2
        return list(islice(sampler, 10))

    alone = list(islice(ResumableInfiniteSampler(dataset, seed=5), 20))
    assert [process(0), process(1)] == [alone[0::2], alone[1::2]]


@pytest.mark.parametrize('sampler_class', [ResumableSampler, ResumableInfiniteSampler])
def test_batches_by_shape(dataset, sampler_class):
    batches = ResumableBatchSampler(
        dict(type='ByShape'), sampler=sampler_class(dataset, seed=5), batch_size=2
    )
    assert len(batches) == 5 and batches.batch_size == 2
    first = list(islice(batches, 5))
    for batch in first[:4]:
        assert len({draw.index % 3 == 0 for draw in batch}) == 1
    batches.skip(2)
    assert list(islice(batches, 3)) == first[2:]
    assert list(islice(batches, 5)) == first  # skips once


def test_a_sample_is_a_function_of_its_draw(dataset):
    draws = [Draw(3, (1, 0, 0)), Draw(3, (1, 0, 1)), Draw(4, (1, 0, 0))]
    first, second, third = (dataset[draw] for draw in draws)
    assert first[0] == 3 and first[1] != second[1]
    assert (third[0], third[1]) == (4, first[1])  # the same random numbers
    np.random.seed(7)  # noqa: NPY002
    assert dataset[draws[0]] == first
    state = np.random.random()  # noqa: NPY002
    np.random.seed(7)  # noqa: NPY002
    assert np.random.random() == state  # noqa: NPY002

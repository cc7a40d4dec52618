"""Samplers that start anywhere and seed their samples."""

from itertools import islice

import numpy as np
import pytest
from mmengine.dataset import DefaultSampler, InfiniteSampler
from mmengine.registry import DATA_SAMPLERS as ROOT_SAMPLERS
from torch.utils.data import BatchSampler, ConcatDataset, Subset

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


class TestRepeats:
    @pytest.fixture(params=['alone', 'concatenated', 'a subset'])
    def dataset(self, request):
        class Images(Shapes):
            repeats = 3

        images = {
            'alone': Images(),
            'concatenated': ConcatDataset([Images()]),
            'a subset': Subset(Images(), range(10)),
        }
        return SeededDataset(images[request.param])

    def epochs(self, dataset, num_epochs, rank=0, world_size=1, shuffle=True):
        sampler = ResumableSampler(dataset, seed=5, shuffle=shuffle)
        sampler.rank, sampler.world_size = rank, world_size
        sampler.num_samples = -(-len(dataset) // world_size)
        for epoch in range(num_epochs):
            sampler.set_epoch(epoch)
            yield list(sampler)

    def test_an_epoch_keeps_its_samples(self, dataset):
        for epoch, draws in enumerate(self.epochs(dataset, 3)):
            assert len(draws) == 10
            assert [draw.seed for draw in draws] == [(5, epoch, place) for place in range(10)]
            indices = [draw.index for draw in draws]
            assert [indices[3 * group] for group in range(4) for _ in range(3)][:10] == indices
            assert len(set(indices)) == 4

    def test_epochs_go_through_all_images(self, dataset):
        shown = [draw.index for draws in self.epochs(dataset, 3) for draw in draws]
        assert set(shown) == set(range(10))
        ordered = [draw.index for draws in self.epochs(dataset, 3, shuffle=False) for draw in draws]
        assert ordered == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 4, 4, 4, 5, 5, 5, 6, 6, 6, 7] + [
            *(8, 8, 8, 9, 9, 9, 0, 0, 0, 1)
        ]

    def test_processes_take_whole_groups(self, dataset):
        alone = next(self.epochs(dataset, 1))
        first, second = (next(self.epochs(dataset, 1, rank, 2)) for rank in range(2))
        assert first == alone[0:3] + alone[6:8]
        assert second == alone[3:6] + alone[9:10] + [second[4]]
        assert second[4].index == second[3].index and second[4].seed == (5, 0, 10)

    def test_an_infinite_sampler(self, dataset):
        sampler = ResumableInfiniteSampler(dataset, seed=5)
        draws = list(islice(sampler, 60))
        plain = islice(InfiniteSampler(dataset, seed=5), 20)
        assert [draw.index for draw in draws] == [index for index in plain for _ in range(3)]
        assert [draw.seed for draw in draws] == [(5, place) for place in range(60)]
        sampler.skip(13)
        assert list(islice(sampler, 47)) == draws[13:]


def test_the_order_is_that_of_mmengine(dataset):
    for options in (dict(), dict(shuffle=False), dict(round_up=False)):
        samplers = [one(dataset, seed=5, **options) for one in (ResumableSampler, DefaultSampler)]
        for epoch in range(2):
            for rank in range(3):
                for sampler in samplers:
                    sampler.set_epoch(epoch)
                    sampler.rank, sampler.world_size = rank, 3
                    round_up = options.get('round_up', True)
                    sampler.num_samples = 4 if round_up or rank == 0 else 3
                    sampler.total_size = 12 if round_up else 10
                assert [draw.index for draw in samplers[0]] == list(samplers[1])


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

import torch

from mmmask.lab.benchmark.hierarchy import NUM_NODES, hierarchy_calls, photographs
from mmmask.masking import node_sizes


def test_the_stages_are_those_of_the_whole():
    calls = hierarchy_calls(3, 160, torch.device('cpu'))
    results = {name: call() for name, call in calls.items()}
    parent, height = results['tree']
    assert parent.shape == (3, 199) and height.shape == (3, 99)
    assert ((node_sizes(results['cut']) > 0).sum(1) == NUM_NODES).all()
    for name in ('tree, cut, sample', 'sample', 'EHM', 'EPM', 'random'):
        assert (results[name].hidden.sum(1) == 75).all()
    torch.manual_seed(0)
    whole = calls['tree, cut, sample']()
    torch.manual_seed(0)
    assert torch.equal(calls['sample']().hidden, whole.hidden)


def test_photographs_are_the_same_each_time_and_normalized():
    images = photographs(6, 64)
    assert torch.equal(images, photographs(6, 64))
    assert -2 <= images.min() < -1 and 1 < images.max() <= 2.5
    assert not torch.equal(images[0], images[4])  # two crops of one photograph

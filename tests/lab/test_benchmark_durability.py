from pathlib import Path

import torch

from mmmask.lab.benchmark import COMPONENTS
from mmmask.lab.benchmark.durability import prepare
from mmmask.lab.soak import compare_values


def test_both_sides_take_the_same_kind_of_step():
    """The plain side has only components of mmengine, and both sides write a checkpoint."""
    device = torch.device('cpu')
    plain, durable = (prepare(plain, 4, 64, device) for plain in (True, False))
    names = [{type(hook).__name__ for hook in runner.hooks} for runner in (plain, durable)]
    assert names[1] - names[0] == {
        'CollapseHook',
        'DeadMaskHook',
        'DurableCheckpointHook',
        'MaskStatisticsHook',
        'NonFiniteLossHook',
        'PreemptionHook',
    }
    assert names[0] - names[1] == {'CheckpointHook'}
    assert type(plain.train_loop).__name__ == 'EpochBasedTrainLoop'
    states = [runner.model.state_dict() for runner in (plain, durable)]
    assert list(compare_values(*states, 'weights')) == []
    for call in COMPONENTS['step'](4, 64, device).values():
        call()
    for call in COMPONENTS['checkpoint'](4, 64, device).values():
        call()
        (path,) = Path(call.args[0].work_dir).glob('epoch_1.pth')
        assert torch.load(path, weights_only=False)['meta']['iter'] == 1

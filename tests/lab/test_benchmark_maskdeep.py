import torch
from conftest import ROOT

from mmmask.lab.benchmark import COMPONENTS, benchmark_configs
from mmmask.lab.benchmark.measuring import count_flops


def test_groups_share_the_passes_of_the_encoder():
    """Multiply-adds of a view, in G: encoder 4.11 (times 3, and 1 for the target), a group 0.26.

    A group: projectors 0.194; one whole block and the rows of the query of a second one, 0.068;
    predictor 0.002. Three more groups are 0.79 times 3 of 17.2, so 1.138.
    """
    calls = COMPONENTS['maskdeep'](2, 224, torch.device('meta'))
    flops = {name: count_flops(call) for name, call in calls.items()}
    assert 1.12 < flops['four groups'] / flops['one group'] < 1.15
    assert flops['four groups, channels last'] == flops['four groups']
    # 2 views, 2 images, 2 operations a multiply-add
    assert 8 * 16.1e9 < flops['BYOL'] < 8 * 16.8e9


def test_a_config_is_measured_at_the_size_of_its_crops():
    """ResNet-18 of a quarter of the width, 64 px: 0.0096 G multiply-adds a view and image."""
    config = ROOT / 'configs/demo/maskdeep_resnet-tiny_digits.py'
    report = benchmark_configs([str(config)], batch_size=2, iters=1, warmup=0, device='cpu')
    assert report.machine['image_sizes'] == [(64, 64)]
    # two views of two images; the encoder four times, and the head
    (result,) = report.results
    assert 8 * 4 * 0.0096e9 < result.flops < 2 * 8 * 4 * 0.0096e9

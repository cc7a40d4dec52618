import torch

from mmmask.lab.benchmark import COMPONENTS
from mmmask.lab.benchmark.measuring import count_flops


def test_a_quarter_of_the_tokens_costs_a_quarter_of_the_arithmetic():
    """12 of 49 units are 24.5 %; padding and blocked pairs come on top in attention only."""
    visible, everything = COMPONENTS['swin'](1, 224, torch.device('meta')).values()
    dense = count_flops(everything)
    # 15.2 G multiply-adds forward, two operations each, and twice as much backward
    assert 88e9 < dense < 94e9
    assert 0.24 < count_flops(visible) / dense < 0.26

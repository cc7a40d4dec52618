"""The memory of a training's state, against numbers worked out by hand."""

import pytest
from mmpretrain.models.backbones.vision_transformer import TransformerEncoderLayer
from torch import nn

from mmmask.lab.memory import training_memory
from mmmask.layers import MomentumCopy

# A block of width 2 and hidden width 3: two norms, qkv, output, two layers.
BLOCK = 2 * (2 + 2) + (2 * 6 + 6) + (2 * 2 + 2) + (2 * 3 + 3) + (3 * 2 + 2)


@pytest.mark.parametrize('processes', [1, 4])
def test_bytes_of_two_blocks_a_layer_and_a_momentum_copy(processes):
    model = nn.Sequential(*(TransformerEncoderLayer(2, 1, 3) for _ in range(2)), nn.Linear(2, 5))
    model.append(MomentumCopy(0.9, copied=model[2]))
    trained, frozen = 2 * BLOCK + 15, 15
    assert training_memory(model, processes) == dict(
        none=4 * (4 * trained + frozen),
        optimizer=4 * (2 * trained + 2 * trained / processes + frozen),
        full=4 * ((4 * trained + frozen) / processes + 2 * 15 + frozen + 3 * BLOCK),
        checkpoint=4 * (3 * trained + frozen),
    )

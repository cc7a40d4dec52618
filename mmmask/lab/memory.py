"""The memory that the state of a training takes in each process, calculated without a GPU."""

from torch import nn

from mmmask.engine.sharding import trained_blocks

BYTES = 4  # of fp32, which autocast does not change
AVERAGES = 2  # that AdamW keeps of each parameter


def training_memory(model: nn.Module, processes: int) -> dict[str, float]:
    """Bytes in each process by ``--shard``, and those of a ``checkpoint``, without activations.

    T trained and F frozen parameters, with 4 bytes each, give with P processes

    - ``none``: weights, gradients and averages of AdamW, 4T + F
    - ``optimizer``: 2T + 2T/P + F
    - ``full``: (4T + F)/P, and what is collected: the weights and gradients of everything outside
      of transformer blocks, and of the largest block, with the weights of the next one
    - ``checkpoint``: 3T + F

    Args:
        model: a model, which may be on the meta device.
        processes: P.
    """
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    frozen = sum(p.numel() for p in model.parameters()) - trained
    blocks = [sum(p.numel() for p in block.parameters()) for block in trained_blocks(model)]
    outside = trained - sum(blocks)
    collected = 2 * outside + frozen + 3 * max(blocks, default=0)
    numbers = dict(
        none=(2 + AVERAGES) * trained + frozen,
        optimizer=2 * trained + AVERAGES * trained / processes + frozen,
        full=((2 + AVERAGES) * trained + frozen) / processes + collected,
        checkpoint=(1 + AVERAGES) * trained + frozen,
    )
    return {name: BYTES * number for name, number in numbers.items()}

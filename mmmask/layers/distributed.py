"""Communication between processes."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch import distributed as dist


def gather_rows(rows: Tensor) -> tuple[Tensor, int]:
    """(B, D) of this process -> (B·processes, D) in the order of ranks, and the first own row.

    Every process must hold the same number of rows. Rows of other processes carry no gradient.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return rows, 0
    gathered = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
    dist.all_gather(gathered, rows.detach().contiguous())
    rank = dist.get_rank()
    gathered[rank] = rows
    return torch.cat(gathered), rank * len(rows)


@contextmanager
def gathered(model: nn.Module) -> Iterator[None]:
    """Give every process the whole weights of a model that ``fully_shard`` has divided.

    All processes enter the block together. Within it, they may call any part of the model, also
    different numbers of times. Other models stay as they are.
    """
    shards = [module for module in model.modules() if hasattr(module, 'unshard')]
    divided = {type(p).__name__ for shard in shards for p in shard.parameters()} & {'DTensor'}
    if not divided:
        yield
        return
    for shard in shards:
        shard.unshard()
    for shard in shards[1:]:  # the first, the root, never reshards after a forward pass
        shard.set_reshard_after_forward(False, recurse=False)
    try:
        yield
    finally:
        for shard in shards[1:]:
            shard.set_reshard_after_forward(True, recurse=False)
        for shard in shards:
            shard.reshard()

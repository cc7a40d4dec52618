"""Communication between processes."""

import torch
from torch import Tensor
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

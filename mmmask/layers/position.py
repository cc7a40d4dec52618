"""Fixed position embeddings."""

import torch
from torch import Tensor


def sincos_position_embedding(
    grid: tuple[int, int],
    width: int,
    class_token: bool = False,
    device: torch.device | str | None = None,
    extent: float | None = None,
) -> Tensor:
    """(h, w) -> (1, [1 +] h·w, D): the fixed 2-D sine-cosine table in the order of MAE's reference.

    The first half of the channels encodes the column and the second half the row. Each half is
    [sin | cos] of the index times 1/10000^(i/(D/4)). The class token, if any, comes first and is
    zero. mmpretrain's table of the same name is the spatial transpose of this one.

    With an ``extent``, the positions are the centres of equal cells that cover it, (index + 0.5) ·
    extent / number of cells. The same place of an image then has similar codes on all grids.

    Raises:
        ValueError: if ``width`` is not a multiple of 4.
    """
    if width % 4:
        raise ValueError(f'width={width} must be a multiple of 4 for a 2-D sine-cosine table.')
    # fp64, so that the table does not depend on the order of operations.
    exponents = torch.arange(width // 4, dtype=torch.float64, device=device) / (width // 4)
    frequencies = 10000.0**-exponents

    def encode(index: Tensor) -> Tensor:
        angles = index.flatten().unsqueeze(1) * frequencies
        return torch.cat([angles.sin(), angles.cos()], dim=1)

    coordinates = []
    for length in grid:
        index = torch.arange(length, dtype=torch.float64, device=device)
        coordinates.append(index if extent is None else (index + 0.5) * extent / length)
    rows, columns = torch.meshgrid(*coordinates, indexing='ij')
    table = torch.cat([encode(columns), encode(rows)], dim=1)
    if class_token:
        table = torch.cat([table.new_zeros(1, width), table])
    return table.float().unsqueeze(0)

"""Windows of a partly visible map, packed into groups of equal size (Huang et al., GreenMIM, 2022).

If most tokens are hidden, windows contain few tokens, and unequal numbers of them. Whole windows
are packed into groups. Each group attends within itself, and pairs of tokens from different windows
are blocked. The result equals window attention without the hidden tokens, computed as one dense
attention.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor


class WindowGroups(NamedTuple):
    """How T tokens are arranged for attention within windows: G groups of L places.

    Attributes:
        members: (G·L,) the token in each place; padding repeats token 0.
        places: (T,) the place of each token.
        offsets: (G, L, L) row of the relative position table for each (query, key).
        blocked: (G, L, L) bool, True if query and key are not in the same window. Padding counts as
            one window, so every query has at least one key.
    """

    members: Tensor
    places: Tensor
    offsets: Tensor
    blocked: Tensor


def token_coordinates(
    units: Tensor, grid: tuple[int, int], side: int, scrambled: bool = False
) -> tuple[Tensor, Tensor]:
    """(K,) visible units -> rows and columns (K·side²,) of their tokens, in unit-major order.

    Args:
        units: raster indices on the grid of units.
        grid: (h, w) units.
        side: tokens along the side of a unit.
        scrambled: use the unit-major index of a token as its raster index, as the reference
            implementation of LocalMIM does after the first patch merging.
    """
    inner = torch.arange(side**2)
    if scrambled:
        index = (units.unsqueeze(1) * side**2 + inner).flatten()
        return index // (grid[1] * side), index % (grid[1] * side)
    rows = (units // grid[1]).unsqueeze(1) * side + inner // side
    columns = (units % grid[1]).unsqueeze(1) * side + inner % side
    return rows.flatten(), columns.flatten()


def pack(sizes: Sequence[int], capacity: int) -> list[list[int]]:
    """Item sizes -> items of each group; each group is the fullest that the remaining items allow.

    This solves one 0/1 knapsack after another. The set of totals that the first items can reach is
    an integer with one bit per total, so an item costs one shift.
    """
    groups, left = [], list(range(len(sizes)))
    within = (1 << capacity + 1) - 1
    while left:
        reachable = [1]
        for item in left:
            reachable.append(reachable[-1] | reachable[-1] << sizes[item] & within)
        total, group = reachable[-1].bit_length() - 1, []
        for item, before in zip(reversed(left), reversed(reachable[:-1]), strict=True):
            if not before >> total & 1:
                group.append(item)
                total -= sizes[item]
        groups.append(group[::-1])
        left = [item for item in left if item not in group]
    return groups


@lru_cache(maxsize=16)
def _arrange(
    units: tuple[int, ...], grid: tuple[int, int], side: int, window: int, shift: int, scrambled
) -> tuple[Tensor, Tensor]:
    """Visible units -> (4, G, L) token, row, column and window per place, and (T,) places.

    Padding has token 0 and window -1. Computed on the host because the mask determines the shapes.
    """
    rows, columns = token_coordinates(torch.tensor(units), grid, side, scrambled)
    start = (window - shift) % window
    columns_of_windows = grid[1] * side // window + 1
    labels = (rows + start) // window * columns_of_windows + (columns + start) // window
    _, labels, sizes = labels.unique(return_inverse=True, return_counts=True)
    num_tokens = len(labels)
    if num_tokens <= 2 * window**2:
        num_groups, length = 1, num_tokens
        places = torch.arange(num_tokens)
    else:
        length = min(window**2, int(sizes.max()))
        groups = pack(sizes.tolist(), length)
        num_groups = len(groups)
        group_of_window = torch.empty_like(sizes)
        for index, group in enumerate(groups):
            group_of_window[group] = index
        group = group_of_window[labels]
        order = (group * len(sizes) + labels).argsort(stable=True)
        first = torch.bincount(group).cumsum(0).roll(1)
        first[0] = 0
        places = torch.empty_like(order)
        places[order] = torch.arange(num_tokens) - first[group[order]] + group[order] * length
    content = torch.tensor([0, 0, 0, -1]).unsqueeze(1).repeat(1, num_groups * length)
    content[:, places] = torch.stack([torch.arange(num_tokens), rows, columns, labels])
    return content.view(4, num_groups, length), places


def check_windows(grid: tuple[int, int], side: int, window: int) -> None:
    """Raise ValueError unless windows tile a map of (h, w) units of side × side tokens."""
    height, width = grid[0] * side, grid[1] * side
    if height % window or width % window:
        raise ValueError(
            f'windows of {window} do not tile a map of {height}x{width} tokens: choose an image '
            'size whose maps they divide, or another window_size (one per stage through the '
            "backbone's stage_cfgs)."
        )


def group_windows(
    units: tuple[int, ...],
    grid: tuple[int, int],
    side: int,
    window: int,
    shift: int = 0,
    scrambled: bool = False,
    device: torch.device | str | None = None,
) -> WindowGroups:
    """Visible units -> groups for (shifted) window attention between their tokens.

    At most 2·window² tokens form a single group. Otherwise a group is as long as the fullest
    window. Nothing is read from the device: the packing runs on the host, and the results are
    copied asynchronously.

    Args:
        units: raster indices of the visible units, in the order of the tokens.
        grid: (h, w) units.
        side: tokens along the side of a unit; tokens come in unit-major order.
        window: side of a window in tokens.
        shift: number of tokens by which the windows are shifted.
        scrambled: see :func:`token_coordinates`.
        device: device of the result.

    Raises:
        ValueError: if the windows do not tile the map.
    """
    check_windows(grid, side, window)
    content, places = _arrange(tuple(units), tuple(grid), side, window, shift, scrambled)
    content = content.to(device, non_blocking=True)
    members, rows, columns, labels = content
    blocked = labels.unsqueeze(2) != labels.unsqueeze(1)
    reach = 2 * window - 1
    offsets = (rows.unsqueeze(2) - rows.unsqueeze(1) + window - 1) * reach
    offsets = offsets + columns.unsqueeze(2) - columns.unsqueeze(1) + window - 1
    return WindowGroups(
        members.flatten(),
        places.to(device, non_blocking=True),
        offsets.masked_fill(blocked, 0),
        blocked,
    )

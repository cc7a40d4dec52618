"""Masks and the operations on them. No other file of this project permutes tokens."""

from math import isqrt
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Mask(NamedTuple):
    """Which patches of each image are hidden, and how to put the tokens back in place.

    Attributes:
        hidden: (B, N) bool, **True = hidden**.
        ids_keep: (B, K) indices of the visible patches in the order the encoder sees them.
        ids_restore: (B, N) inverse permutation of [kept, hidden]: row n of the restored sequence
            is row ``ids_restore[n]`` of the shuffled one.
        grid: (h, w), the patch grid; h·w = N.
        ids_predict: (B, M, P) indices of the hidden patches that are predicted, in M blocks of P
            patches that may overlap; None if all hidden patches are predicted as one block.
    """

    hidden: Tensor
    ids_keep: Tensor
    ids_restore: Tensor
    grid: tuple[int, int]
    ids_predict: Tensor | None = None

    def expand(self, num_images: int) -> 'Mask':
        """A mask of one image -> the same mask for B images, without copying."""
        hidden, keep, restore, predict = (
            part if part is None else part.expand(num_images, *part.shape[1:])
            for part in (*self[:3], self.ids_predict)
        )
        return Mask(hidden, keep, restore, self.grid, predict)

    @property
    def predicted(self) -> Tensor:
        """(B, N) bool, True where a patch is hidden and predicted."""
        if self.ids_predict is None:
            return self.hidden
        return torch.zeros_like(self.hidden).scatter(1, self.ids_predict.flatten(1), True)

    @property
    def blocks(self) -> Tensor:
        """(B, M, P): ``ids_predict``, or all hidden patches as one block."""
        if self.ids_predict is not None:
            return self.ids_predict
        return self.ids_restore.argsort(dim=1)[:, None, self.ids_keep.shape[1] :]


def num_visible(num_patches: int, ratio: float) -> int:
    """Number of visible patches at a masking ratio: N·(1 − ratio), rounded down as in MAE.

    Raises:
        ValueError: if the ratio leaves no visible or no hidden patch.
    """
    # The guard maps both 3.0000000000000004 = 10 * (1 - 0.7) and 2.9999999999999996 to 3.
    num_keep = int(num_patches * (1 - ratio) + 1e-6)
    if not 0 < num_keep < num_patches:
        raise ValueError(
            f'ratio={ratio} keeps {num_keep} of {num_patches} patches: at least one patch must be '
            'visible and one hidden. Change the ratio, the image size or the patch size.'
        )
    return num_keep


def mask_from_scores(scores: Tensor, num_keep: int, grid: tuple[int, int] | None = None) -> Mask:
    """(B, N) scores -> Mask that hides the N − ``num_keep`` patches with the highest scores.

    The sort is stable: of equal scores the later patch is hidden, on every device. Visible patches
    are ordered by ascending score, as in the MAE reference implementation.

    Args:
        scores: (B, N) in raster order.
        num_keep: number of visible patches.
        grid: (h, w), the patch grid; by default a square.

    Raises:
        ValueError: if the grid does not have N patches, or N patches do not form a square.
    """
    num_patches = scores.shape[1]
    side = isqrt(num_patches)
    if grid is None and side**2 == num_patches:
        grid = (side, side)
    if grid is None or grid[0] * grid[1] != num_patches:
        raise ValueError(
            f'grid={grid} does not fit scores of {num_patches} patches: pass grid=(h, w) with '
            f'h * w = {num_patches}.'
        )
    ids_shuffle = scores.argsort(dim=1, stable=True)
    ids_restore = ids_shuffle.argsort(dim=1)
    return Mask(ids_restore >= num_keep, ids_shuffle[:, :num_keep], ids_restore, grid)


def keep_all(num_images: int, grid: tuple[int, int], device: torch.device | str = 'cpu') -> Mask:
    """B, (h, w) -> Mask that hides nothing and keeps the raster order; equivalent to no mask."""
    ids = torch.arange(grid[0] * grid[1], device=device).expand(num_images, -1)
    return Mask(torch.zeros_like(ids, dtype=torch.bool), ids, ids, grid)


def predict_part(mask: Mask, ratio: float) -> Mask:
    """Mask -> the same mask, with a random part of the hidden patches to be predicted.

    Args:
        mask: which patches are hidden.
        ratio: number of predicted patches as a fraction of all N patches, rounded.

    Raises:
        ValueError: if there are fewer hidden patches, or none is predicted.
    """
    num_patches = mask.hidden.shape[1]
    num_hidden, number = num_patches - mask.ids_keep.shape[1], round(ratio * num_patches)
    if not 0 < number <= num_hidden:
        raise ValueError(
            f'predict_ratio={ratio} predicts {number} of {num_patches} patches, of which '
            f'{num_hidden} are hidden: choose at least one patch, and at most those.'
        )
    # Visible patches come last.
    scores = torch.rand(mask.hidden.shape, device=mask.hidden.device) + ~mask.hidden
    return mask._replace(ids_predict=scores.argsort(dim=1)[:, None, :number])


def gather_tokens(tokens: Tensor, ids: Tensor) -> Tensor:
    """(B or 1, N, D) tokens and (B, K) indices -> (B, K, D) tokens in the order of the indices."""
    width = tokens.shape[-1]
    return tokens.expand(ids.shape[0], -1, -1).gather(1, ids.unsqueeze(-1).expand(-1, -1, width))


def scatter_tokens(tokens: Tensor, ids: Tensor, num_patches: int) -> Tensor:
    """(B, P, D) tokens and (B, P) indices -> (B, N, D), zero elsewhere; reverses the gathering.

    Of several tokens with the same index, one is taken.
    """
    zeros = tokens.new_zeros(len(tokens), num_patches, tokens.shape[2])
    return zeros.scatter(1, ids.unsqueeze(-1).expand_as(tokens), tokens)


def restore_tokens(visible: Tensor, mask: Mask, mask_token: Tensor) -> Tensor:
    """(B, K, D) visible tokens and a (1, 1, D) mask token -> (B, N, D) in raster order.

    If a patch has s tokens: (B, K·s, D) -> (B, N·s, D), with the tokens of a patch side by side.
    """
    num_images, num_keep = visible.shape[0], mask.ids_keep.shape[1]
    per_patch = visible.shape[1] // num_keep
    visible = visible.reshape(num_images, num_keep, -1)
    num_hidden = mask.ids_restore.shape[1] - num_keep
    filler = mask_token.to(visible.dtype).repeat(1, 1, per_patch)
    filler = filler.expand(num_images, num_hidden, -1)
    restored = gather_tokens(torch.cat([visible, filler], dim=1), mask.ids_restore)
    return restored.unflatten(2, (per_patch, -1)).flatten(1, 2)


def units_to_raster(tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    """(B, h·w·s², D) tokens unit by unit, s × s in each -> the same in raster order."""
    side = isqrt(tokens.shape[1] // (grid[0] * grid[1]))
    if side == 1:
        return tokens
    maps = tokens.unflatten(1, (*grid, side, side))
    return maps.transpose(2, 3).flatten(1, 4)


def hide_positions(maps: Tensor, mask: Mask, filler: Tensor | float = 0.0) -> Tensor:
    """(B, C, H, W) maps of s × s positions for each patch -> the same, hidden ones filled.

    Args:
        maps: feature maps, or the images themselves.
        mask: on a grid that divides the maps.
        filler: a number, or (1, C, 1, 1).
    """
    hidden = mask.hidden.unflatten(1, mask.grid).unsqueeze(1)
    side = maps.shape[-1] // mask.grid[1]
    hidden = hidden.repeat_interleave(side, 2).repeat_interleave(side, 3)
    if isinstance(filler, Tensor):
        return torch.where(hidden, filler.to(maps.dtype), maps)
    return maps.masked_fill(hidden, filler)


def gather_positions(maps: Tensor, mask: Mask) -> Tensor:
    """(B, C, h·s, w·s) maps -> (B, C, K·s², 1), the positions of the visible patches."""
    places = _visible_places(mask, maps.shape[-1] // mask.grid[1])
    return gather_tokens(maps.flatten(2).mT, places).mT.unsqueeze(3)


def scatter_positions(visible: Tensor, mask: Mask) -> Tensor:
    """(B, C, K·s², 1) -> (B, C, h·s, w·s) maps that are 0 at the hidden positions."""
    side = isqrt(visible.shape[2] // mask.ids_keep.shape[1])
    height, width = (length * side for length in mask.grid)
    tokens = scatter_tokens(visible.squeeze(3).mT, _visible_places(mask, side), height * width)
    return tokens.mT.unflatten(2, (height, width))


def _visible_places(mask: Mask, side: int) -> Tensor:
    """(B, K·s²) raster indices of the visible positions on a grid that is s times as fine."""
    width, inner = mask.grid[1], torch.arange(side, device=mask.ids_keep.device)
    rows = (mask.ids_keep // width * side).unsqueeze(2) + inner
    columns = (mask.ids_keep % width * side).unsqueeze(2) + inner
    return (rows.unsqueeze(3) * (width * side) + columns.unsqueeze(2)).flatten(1)


def rescale_hidden(hidden: Tensor, grid: tuple[int, int], factor: float) -> Tensor:
    """(B, h·w) bool -> (B, h·w·factor²) fp32 loss weights on a finer or coarser grid.

    A finer grid repeats the value of the patch. A coarser grid averages the patches that a position
    covers, so a half-hidden position has weight 0.5, as in the LocalMIM reference.

    Raises:
        ValueError: if the coarser grid does not divide the patch grid.
    """
    maps = hidden.float().unflatten(1, grid).unsqueeze(1)
    if factor < 1:
        window = round(1 / factor)
        if grid[0] % window or grid[1] % window:
            raise ValueError(
                f'a {grid[0]}x{grid[1]} patch grid cannot be scaled by {factor}: '
                f'both sides must be multiples of {window}.'
            )
        maps = F.avg_pool2d(maps, window)
    elif factor > 1:
        maps = F.interpolate(maps, scale_factor=int(factor), mode='nearest')
    return maps.flatten(1)

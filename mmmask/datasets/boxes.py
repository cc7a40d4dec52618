"""Boxes around what a heat map shows, and crops that are placed in them."""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


class CropBoxes(NamedTuple):
    """One box for each of M images, in memory that all worker processes share.

    Attributes:
        values: (M, 4) fp32 fractions (top, left, bottom, right) of height and width.
        in_use: (1,) bool; while it is False, crops are placed anywhere.
    """

    values: Tensor
    in_use: Tensor


def full_boxes(num_images: int) -> CropBoxes:
    """Boxes of whole images, not yet in use."""
    values = torch.tensor([0.0, 0.0, 1.0, 1.0]).repeat(num_images, 1)
    return CropBoxes(values.share_memory_(), torch.zeros(1, dtype=torch.bool).share_memory_())


def find_boxes(
    heat_maps: Tensor, size: tuple[int, int], threshold: float, min_side: float = 0.0
) -> Tensor:
    """(B, h, w) heat maps -> (B, 4) fp32 boxes (top, left, bottom, right) in fractions.

    Each map is scaled to [0, 1] and enlarged to the size of the image, bilinearly and without
    aligned corners. A row, or column, is active if its maximum is above the threshold. The box
    extends from the first to the last active one, index divided by size, so no side is longer than
    (size − 1)/size (Peng et al., ContrastiveCrop, CVPR 2022, and its released code).

    A map that is constant or not finite, or has no active row, gives the whole image.

    Args:
        size: (H, W) of the image.
        min_side: shorter sides are widened to this fraction of the image, around their middle.
    """
    maps = heat_maps.float()
    low, high = maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True)
    maps = (maps - low) / (high - low)  # not finite where the map is constant
    maps = F.interpolate(maps[:, None], size=size, mode='bilinear', align_corners=False)[:, 0]
    sides = []
    for axis, length in ((2, size[0]), (1, size[1])):
        active = (maps.amax(dim=axis) > threshold).to(torch.uint8)
        first = active.argmax(dim=1)
        last = length - 1 - active.flip(1).argmax(dim=1)
        sides.append(torch.stack([first, last], dim=1) / length)
    boxes = torch.stack(sides, dim=2)  # (B, 2 ends, 2 axes)
    middle = boxes.mean(dim=1, keepdim=True)
    widened = (middle - min_side / 2).clamp(0, 1 - min_side) + torch.tensor(
        [[0.0], [min_side]], device=boxes.device
    )
    is_short = boxes[:, 1:] - boxes[:, :1] < min_side
    boxes = torch.where(is_short, widened, boxes).flatten(1)
    is_found = (maps.amax(dim=(1, 2)) > threshold) & maps.isfinite().all(dim=2).all(dim=1)
    return torch.where(is_found[:, None], boxes, boxes.new_tensor([0.0, 0.0, 1.0, 1.0]))


def box_areas(boxes: Tensor) -> Tensor:
    """(B, 4) boxes -> (B,) areas as fractions of the image."""
    return (boxes[:, 2:] - boxes[:, :2]).prod(dim=1)


def are_full(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, 4) boxes -> (B,) whether they reach from the first pixel of (H, W) to the last."""
    ends = boxes[:, 2:] * torch.tensor(size, device=boxes.device)
    last = torch.tensor(size, device=boxes.device) - 1
    return (boxes[:, :2] <= 0).all(dim=1) & (ends > last - 0.5).all(dim=1)


def place_crop(
    box, size: tuple[int, int], crop: tuple[int, int], draws: tuple[float, float]
) -> tuple[int, int]:
    """A box, (H, W), (h, w) and two random numbers from [0, 1] -> top and left of the crop.

    The **centre** of the crop is inside the box, and the crop is inside the image. The crop may be
    larger than the box.
    """
    starts = []
    for axis, (length, extent, draw) in enumerate(zip(size, crop, draws, strict=True)):
        # In fp32 a fraction of an index may come out slightly below the index.
        ends = length * np.asarray([box[axis], box[axis + 2]], dtype=float) + 1e-3
        first, last = (ends.astype(int) - extent // 2).clip(0, length - extent)
        starts.append(int(first + int((last - first) * draw)))
    return starts[0], starts[1]

"""Weights for colour images in networks for other numbers of channels."""

from collections.abc import Mapping
from pathlib import Path

from mmengine.logging import print_log
from torch import Tensor


def adapt_channels(
    tensors: Mapping[str, Tensor], own: Mapping[str, Tensor], path: str | Path
) -> dict[str, Tensor]:
    """The tensors of a file, with a first layer for RGB fitted to the channels of the network.

    The rule is that of timm's ``adapt_input_conv``. For one channel the weights are added, so a
    grey image gives the features that it has as three equal colours. For C others they are repeated
    cyclically (R, G, B, R, …) and multiplied by 3/C, so responses keep their size.
    """
    adapted = dict(tensors)
    for name, tensor in tensors.items():
        shape = own[name].shape if name in own else tensor.shape
        if tensor.ndim == 4 and tensor.shape[1] == 3 and len(shape) == 4 and shape[1] != 3:
            adapted[name] = _adapt(tensor, shape[1])
            message = f'{path}: {name} was adapted from 3 to {shape[1]} channels'
            print_log(message, logger='current')
    return adapted


def _adapt(weight: Tensor, channels: int) -> Tensor:
    """(D, 3, p, p) -> (D, C, p, p)."""
    if channels == 1:
        return weight.sum(dim=1, keepdim=True)
    repeated = weight.repeat(1, -(-channels // 3), 1, 1)[:, :channels]
    return repeated * (3 / channels)

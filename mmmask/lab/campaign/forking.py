"""A run that continues from the checkpoint of another method."""

import os

import torch
from torch import nn

from mmmask.checkpoints import find_tensors, open_checkpoint
from mmmask.layers import MomentumCopy


def fork_checkpoint(parent: str | os.PathLike, model: nn.Module, path: str | os.PathLike) -> None:
    """Write a checkpoint from which another method resumes where ``parent`` was saved.

    Weights, optimizer, schedule and random states are those of the parent. Momentum copies that the
    parent lacks start as copies of its weights.

    Args:
        parent: checkpoint of a training.
        model: the model of the method that continues; it gets the weights.
        path: of the new checkpoint.

    Raises:
        ValueError: if the two have other weights that are trained.
    """
    checkpoint = open_checkpoint(parent)
    result = model.load_state_dict(find_tensors(checkpoint, parent), strict=False)
    copies = {name: one for name, one in model.named_modules() if isinstance(one, MomentumCopy)}
    missing = [name for name in result.missing_keys if not name.startswith(tuple(copies))]
    if different := missing + result.unexpected_keys:
        raise ValueError(
            f'{parent} cannot be continued by this method: {len(different)} weights differ, '
            f'such as {different[0]}. A fork may change masks, not the encoder or the decoder.'
        )
    for copy in copies.values():
        copy.synchronize()
    torch.save(dict(checkpoint, state_dict=model.state_dict()), path)

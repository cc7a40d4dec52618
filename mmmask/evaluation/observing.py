"""The use of a model during training without an effect on the training."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.model import is_model_wrapper
from torch import Tensor, nn

from mmmask.layers import gathered
from mmmask.random_state import preserve_random_state


def unwrap(model: nn.Module) -> nn.Module:
    """The model itself, without the wrapper of distributed training."""
    return model.module if is_model_wrapper(model) else model


@contextmanager
def observing(
    model: nn.Module, data_batch: dict | None = None
) -> Iterator[tuple[nn.Module, Tensor | None]]:
    """Use a model in evaluation mode without gradients, then restore its modes and random states.

    If the weights are divided among processes, all processes enter the block together. A training
    is the same with and without such a block::

        with observing(runner.model, data_batch) as (model, images):
            features = model.backbone(images)

    Args:
        model: a model, which may be wrapped for distributed training.
        data_batch: a batch of a data loader.

    Yields:
        The unwrapped model and the (B, C, H, W) images of the batch, normalised by the model's data
        preprocessor. If the batch has several views, these are the images of the first one. Without
        a batch, the images are None.
    """
    model = unwrap(model)
    modes = {module: module.training for module in model.modules()}
    with preserve_random_state(), torch.no_grad(), gathered(model):
        model.eval()
        try:
            images = None
            if data_batch is not None:
                images = model.data_preprocessor(data_batch, False)['inputs']
                images = images if isinstance(images, Tensor) else images[0]
            yield model, images
        finally:
            for module, training in modes.items():
                module.training = training

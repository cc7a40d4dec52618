"""The memory layout that convolutions like best."""

import torch
from mmengine.hooks import Hook
from torch import Tensor

from mmmask.evaluation import unwrap
from mmmask.registry import HOOKS


@HOOKS.register_module()
class ChannelsLastHook(Hook):
    """Keep the images, the weights and with them all maps with the channels side by side.

    The results are the same. It pays for convolutional encoders on CPUs, and on GPUs with mixed
    precision.

    Weights of several processes stay as they are: when their layout changes after the model is
    wrapped for distributed training, the wrapper mixes up the gradients of its first step.
    """

    def before_train(self, runner) -> None:
        model = unwrap(runner.model)
        if model is runner.model:
            model.to(memory_format=torch.channels_last)
        self._listener = model.data_preprocessor.register_forward_hook(_channels_last)

    def after_train(self, runner) -> None:
        self._listener.remove()


def _channels_last(module, inputs: tuple, data: dict) -> dict:
    """(B, C, H, W) images, or a list of views: the same values in another order in memory."""
    images = data['inputs']
    if isinstance(images, Tensor):
        images = images.contiguous(memory_format=torch.channels_last)
    else:
        images = [view.contiguous(memory_format=torch.channels_last) for view in images]
    return {**data, 'inputs': images}

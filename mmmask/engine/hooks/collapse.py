"""Embeddings that become the same for all images."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from torch import Tensor

from mmmask.registry import HOOKS


@HOOKS.register_module()
class CollapseHook(Hook):
    """Watch how much the embeddings of a batch differ, and warn when they collapse to one.

    Works for every method with embeddings: they are what the named module gives. ``embedding_std``
    goes to the log: the standard deviation over the images of a process's batch of each dimension
    of the normalised embeddings, averaged over dimensions. Directions spread evenly give 1/√D.

    Args:
        module: dotted name within the model, such as ``'target.module.projectors.2'``. What it
            returns is (B, ..., D), or a tuple or dict whose last value is; it may run several times
            an iteration.
        interval: iterations from one look to the next.
        alarm_below: share of 1/√D below which to warn; 0.16 is 0.01 for 256 dimensions.

    Raises:
        AttributeError: if the model has no such module.
    """

    def __init__(self, module: str, interval: int = 50, alarm_below: float = 0.16) -> None:
        self.module = module
        self.interval = interval
        self.alarm_below = alarm_below
        self._listener = None
        self._spreads: list[tuple[Tensor, int]] = []

    def before_train(self, runner) -> None:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        try:
            self._watched = model.get_submodule(self.module)
        except AttributeError as error:
            close = [name for name, _ in model.named_modules() if name.count('.') < 2 and name]
            raise AttributeError(
                f'CollapseHook.module={self.module!r} is not in the model: name one that gives the '
                f'embeddings, below one of {", ".join(close)}.'
            ) from error

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        if self.every_n_train_iters(runner, self.interval):
            self._listener = self._watched.register_forward_hook(self._look)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if self._listener is None:
            return
        self._listener.remove()
        self._listener = None
        spreads, self._spreads = self._spreads, []
        if not spreads:
            raise RuntimeError(f'CollapseHook.module={self.module!r} did not run in training.')
        spread, width = torch.stack([value for value, _ in spreads]).mean().item(), spreads[0][1]
        runner.message_hub.update_scalar('train/embedding_std', spread)
        healthy = width**-0.5
        if not spread >= self.alarm_below * healthy:
            runner.logger.warning(
                f'embeddings collapse: embedding_std={spread:.2g} of {self.module} at iteration '
                f'{runner.iter + 1}, where {healthy:.2g} is healthy. All images get nearly the '
                'same embedding. Lower the learning rate or warm up longer, and check that the '
                'momentum of the targets is below 1 and that the predictor is trained.'
            )

    def _look(self, module, inputs, output) -> None:
        while not isinstance(output, Tensor):
            output = list(output.values() if isinstance(output, Mapping) else output)[-1]
        self._spreads.append((embedding_std(output), output.shape[-1]))


@torch.no_grad()
def embedding_std(embeddings: Tensor) -> Tensor:
    """(B, ..., D) -> scalar: deviation over the images of the normalised rows, mean of the rest."""
    return F.normalize(embeddings.float(), dim=-1).std(dim=0, correction=0).mean()

"""Embeddings that become the same for all images."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from mmengine.hooks import Hook
from mmpretrain.models import SelfSupDataPreprocessor
from torch import Tensor

from mmmask.evaluation import observing, pool, unwrap
from mmmask.registry import HOOKS


@HOOKS.register_module()
class CollapseHook(Hook):
    """Log how much the embeddings of a batch differ, and warn when they collapse to one.

    ``embedding_std`` in the log is the standard deviation, over the images of a process's batch, of
    each dimension of the normalised embeddings, averaged over dimensions. If directions are spread
    evenly, it is 1/√D (Chen & He, SimSiam, CVPR 2021, §4.1).

    Args:
        module: dotted name within the model, such as ``'target.module.projectors.2'``. Its output
            is (B, ..., D), or a tuple or dict whose last value is; it may run several times per
            iteration. None means the encoder's features of the first 32 images of the batch, with
            nothing hidden, averaged over positions. That takes another forward pass, which does not
            change the training. Models that learn from labels are ignored.
        interval: iterations from one measurement to the next.
        alarm_below: fraction of 1/√D below which to warn; 0.16 is 0.01 for 256 dimensions. Features
            of encoders that reconstruct have much in common: 0.01 suits them.

    Raises:
        AttributeError: if the model has no such module.
    """

    def __init__(
        self, module: str | None = None, interval: int = 50, alarm_below: float = 0.16
    ) -> None:
        self.module = module
        self.interval = interval
        self.alarm_below = alarm_below
        self._listener = self._encoding_model = None
        self._spreads: list[tuple[Tensor, int]] = []

    def before_train(self, runner) -> None:
        model = unwrap(runner.model)
        if self.module is None:
            learns_without_labels = isinstance(model.data_preprocessor, SelfSupDataPreprocessor)
            self._encoding_model = model if learns_without_labels else None
            return
        try:
            self._watched = model.get_submodule(self.module)
        except AttributeError as error:
            close = [name for name, _ in model.named_modules() if name.count('.') < 2 and name]
            raise AttributeError(
                f'CollapseHook.module={self.module!r} is not in the model: name a module that '
                f'returns embeddings, within one of {", ".join(close)}.'
            ) from error

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        if self.module and self.every_n_train_iters(runner, self.interval):
            self._listener = self._watched.register_forward_hook(self._record)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if self._listener is not None:
            self._listener.remove()
            self._listener = None
        elif self._encoding_model and self.every_n_train_iters(runner, self.interval):
            self._record_features(data_batch)
        else:
            return
        spreads, self._spreads = self._spreads, []
        if not spreads:
            raise RuntimeError(f'CollapseHook.module={self.module!r} did not run in training.')
        spread, width = torch.stack([value for value, _ in spreads]).mean().item(), spreads[0][1]
        runner.message_hub.update_scalar('train/embedding_std', spread)
        healthy = width**-0.5
        if not spread >= self.alarm_below * healthy:
            runner.logger.warning(
                f'embeddings collapse: embedding_std={spread:.2g} of {self.module or "backbone"} '
                f'at iteration {runner.iter + 1}, but {healthy:.2g} is healthy. All images get '
                'nearly the same embedding. Lower the learning rate or warm up longer. If a '
                'momentum copy gives the targets, check that the copy is updated and that the '
                'predictor is trained.'
            )

    def _record_features(self, data_batch: dict) -> None:
        with observing(self._encoding_model, data_batch) as (model, images):
            extra = getattr(model.backbone, 'num_extra_tokens', 0)
            features = pool(model(images[:32], mode='tensor'), 'mean', extra)
        self._spreads.append((embedding_std(features), features.shape[1]))

    def _record(self, module, inputs, output) -> None:
        while not isinstance(output, Tensor):
            output = list(output.values() if isinstance(output, Mapping) else output)[-1]
        self._spreads.append((embedding_std(output), output.shape[-1]))


@torch.no_grad()
def embedding_std(embeddings: Tensor) -> Tensor:
    """(B, ..., D) -> scalar: standard deviation over B of the normalised rows, averaged."""
    return F.normalize(embeddings.float(), dim=-1).std(dim=0, correction=0).mean()

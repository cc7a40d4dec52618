"""How far the training is, for modules that change with it."""

from math import log2
from time import perf_counter

import torch
from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import IterBasedTrainLoop
from torch import Tensor

from mmmask.masking import difficulty, node_sizes
from mmmask.registry import HOOKS

from .random_state import preserve_random_state


@HOOKS.register_module()
class ProgressHook(Hook):
    """Tell mask generators how far the training is, and log what their masks are like.

    Every module of the model with a method ``set_progress`` is told the share of the training that
    is over: epoch/(epochs − 1), which is 0 in the first epoch and 1 in the last, or the same of
    iterations. Resuming needs no state.

    Where the model has a parser, the log gets, for some images of the batch: ``nodes`` (parts with
    at least one patch), ``depth`` (log2 of it), ``largest_node`` (share of the patches),
    ``difficulty`` (share of hidden patches without a visible neighbour, which must rise),
    ``broken_images`` (with evidence that is not finite), and ``parse_ms`` and ``tree_ms`` for each
    image. Looking changes neither the random state nor the model.

    Args:
        by_epoch: whether progress goes by epoch.
        warmup: epochs, or iterations, at the start during which progress stays 0.
        log_interval: iterations from one look at the masks to the next; 0 never looks.
        num_images: images to look at.

    Raises:
        ValueError: if progress by epoch is asked of a training by iterations.
    """

    def __init__(
        self, by_epoch: bool = True, warmup: int = 0, log_interval: int = 50, num_images: int = 8
    ) -> None:
        self.by_epoch = by_epoch
        self.warmup = warmup
        self.log_interval = log_interval
        self.num_images = num_images

    def before_train(self, runner) -> None:
        if self.by_epoch and isinstance(runner.train_loop, IterBasedTrainLoop):
            raise ValueError(
                'ProgressHook counts epochs, but training goes by iterations: set by_epoch=False.'
            )

    def before_train_epoch(self, runner) -> None:
        if self.by_epoch:
            self._set_progress(runner.model, runner.epoch, runner.max_epochs)

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        if not self.by_epoch:
            self._set_progress(runner.model, runner.iter, runner.max_iters)

    def _set_progress(self, model, step: int, num_steps: int) -> None:
        progress = max(step - self.warmup, 0) / max(num_steps - 1 - self.warmup, 1)
        for module in model.modules():
            if hasattr(module, 'set_progress'):
                module.set_progress(min(progress, 1.0))

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if self.log_interval and self.every_n_inner_iters(batch_idx, self.log_interval):
            self._look(runner, data_batch)

    @master_only
    def _look(self, runner, data_batch: dict) -> None:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        if getattr(model, 'parser', None) is None:
            return
        images = model.data_preprocessor(data_batch, False)['inputs']
        images = images if isinstance(images, Tensor) else images[0]
        with preserve_random_state():
            description = describe_masks(model, images[: self.num_images])
        for name, value in description.items():
            runner.message_hub.update_scalar(f'train/{name}', value)


@torch.no_grad()
def describe_masks(model, images: Tensor) -> dict[str, float]:
    """(B, C, H, W) -> what the masks that the model draws now are like; see ProgressHook."""
    masking, grid = model.masking, model.backbone.grid(images)
    times = [_now(images)]
    evidence = model.parser(images) if masking.needs_evidence else None
    times.append(_now(images))
    labels = masking.divide(len(images), grid, images.device, evidence)
    times.append(_now(images))
    sizes = node_sizes(labels)
    nodes = (sizes > 0).sum(dim=1).float().mean().item()
    broken = 0
    if evidence is not None:
        broken = int((~evidence.flatten(1).isfinite().all(dim=1)).sum())
    return dict(
        nodes=nodes,
        depth=log2(nodes),
        largest_node=(sizes.amax(dim=1).float().mean() / labels.shape[1]).item(),
        difficulty=difficulty(masking.draw(labels, grid).hidden, grid).mean().item(),
        broken_images=broken,
        parse_ms=1e3 * (times[1] - times[0]) / len(images),
        tree_ms=1e3 * (times[2] - times[1]) / len(images),
    )


def _now(like: Tensor) -> float:
    """Seconds, after what was asked of the device is done."""
    if like.is_cuda:
        torch.cuda.synchronize(like.device)
    return perf_counter()

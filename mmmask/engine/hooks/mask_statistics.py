"""Statistics of evolved masks."""

from math import log2
from time import perf_counter

import torch
import torch.nn.functional as F
from mmengine.hooks import Hook
from torch import Tensor

from mmmask.evaluation import observing, unwrap
from mmmask.masking import difficulty, explained_variance, node_sizes
from mmmask.registry import HOOKS


@HOOKS.register_module()
class MaskStatisticsHook(Hook):
    """Log statistics of the parts and masks of models with a parser; ignore all other models.

    See :func:`describe_masks` for the values. Only the first process computes them. The hook does
    not change the training.

    Args:
        interval: iterations between measurements.
        num_images: number of images of the batch that are used.
    """

    def __init__(self, interval: int = 50, num_images: int = 8) -> None:
        self.interval = interval
        self.num_images = num_images

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        has_parser = getattr(unwrap(runner.model), 'parser', None) is not None
        if has_parser and self.every_n_inner_iters(batch_idx, self.interval):
            self._log(runner, data_batch)

    def _log(self, runner, data_batch: dict) -> None:
        with observing(runner.model, data_batch) as (model, images):
            statistics = describe_masks(model, images[: self.num_images])
        for name, value in statistics.items():
            runner.message_hub.update_scalar(f'train/{name}', value)


@torch.no_grad()
def describe_masks(model, images: Tensor) -> dict[str, float]:
    """(B, C, H, W) -> statistics of masks at the current progress of the model's mask generator.

    Returns:
        ``nodes`` (number of parts with at least one patch), ``depth`` (log2 of that number),
        ``largest_node`` (fraction of the patches), ``difficulty`` (fraction of hidden patches
        without a visible neighbour; it must rise), ``color_explained`` (share of the variance of
        the patches' mean colors that lies between parts, see :func:`explained_variance`),
        ``broken_images`` (number of images whose evidence is not finite), and ``parse_ms`` and
        ``tree_ms`` (both per image).
    """
    masking, grid = model.masking, model.backbone.grid(images)
    times = [_now(images)]
    evidence = model.parser(images) if masking.needs_evidence else None
    times.append(_now(images))
    labels = masking.divide(len(images), grid, images.device, evidence)
    times.append(_now(images))
    sizes = node_sizes(labels)
    nodes = (sizes > 0).sum(dim=1).float().mean().item()
    colors = F.adaptive_avg_pool2d(images.float(), grid).flatten(2).transpose(1, 2)
    broken = 0
    if evidence is not None:
        broken = int((~evidence.flatten(1).isfinite().all(dim=1)).sum())
    return dict(
        nodes=nodes,
        depth=log2(nodes),
        largest_node=(sizes.amax(dim=1).float().mean() / labels.shape[1]).item(),
        difficulty=difficulty(masking.draw(labels, grid).hidden, grid).mean().item(),
        color_explained=explained_variance(labels, colors).mean().item(),
        broken_images=broken,
        parse_ms=1e3 * (times[1] - times[0]) / len(images),
        tree_ms=1e3 * (times[2] - times[1]) / len(images),
    )


def _now(like: Tensor) -> float:
    """Seconds, read after the work queued on the tensor's device is done."""
    if like.is_cuda:
        torch.cuda.synchronize(like.device)
    return perf_counter()

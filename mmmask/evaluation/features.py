"""One feature vector for each image."""

from collections.abc import Callable, Iterable
from math import isqrt

import torch
import torch.nn.functional as F
from mmengine import dist
from mmengine.dataset import default_collate
from rich.progress import track
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset

from .observing import observing

GRIDS = {'2x2': 2, '4x4': 4}
POOLINGS = ('mean', 'cls', *GRIDS, 'all')

# The feature maps of a backbone for B images -> descriptors (B, D) by name
Describe = Callable[[Tensor | tuple[Tensor, ...]], dict[str, Tensor]]


def extract_features(
    model: nn.Module, dataloader: Iterable, pooling: str = 'mean', progress: str = ''
) -> tuple[Tensor, Tensor | None]:
    """M images -> (M, D) fp32 features of the last feature map and (M,) labels.

    See :func:`describe_images` for the arguments, and :func:`pool` for ``pooling``.
    """
    features, labels = describe_images(model, dataloader, pooled(model, pooling), progress)
    return features[pooling], labels


def pooled(model: nn.Module, *poolings: str) -> Describe:
    """Descriptors of a model's last feature map by :func:`pool`, named after the pooling."""
    num_extra_tokens = getattr(getattr(model, 'backbone', model), 'num_extra_tokens', 0)
    return lambda taps: {pooling: pool(taps, pooling, num_extra_tokens) for pooling in poolings}


def describe_images(
    model: nn.Module, dataloader: Iterable, describe: Describe, progress: str = ''
) -> tuple[dict[str, Tensor], Tensor | None]:
    """M images, nothing hidden -> fp32 descriptors (M, D) by name and (M,) labels.

    The model is used as in :func:`observing`, so a training does not change.

    Args:
        model: a pre-training algorithm or a classifier without head, whose data preprocessor
            normalises the images; or a bare backbone, to which images are passed unchanged.
        dataloader: an iterable over mmengine batches (collated by ``default_collate``) or over
            pairs ``(images, labels)``.
        describe: a function: the feature maps of B images -> descriptors (B, D) by name.
        progress: title of a progress bar; without a title, there is none.

    Returns:
        Descriptors and labels on the model's device. Labels are None if the samples have none.
    """
    parts, labels = [], []
    device = next(model.parameters()).device
    with observing(model) as (model, _):
        for batch in track(dataloader, progress) if progress else dataloader:
            taps, batch_labels = _forward(model, batch, device)
            parts.append({name: value.float() for name, value in describe(taps).items()})
            labels.append(batch_labels)
    descriptors = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    return descriptors, None if labels[0] is None else torch.cat(labels).to(device)


def try_samples(
    model: nn.Module, samples: dict[str, list[dict]], describe: Describe
) -> dict[str, Tensor | None]:
    """A few samples of each data set, described to find faults before all images are read.

    Returns:
        The labels of the samples by the name of the data set. None if they have none.

    Raises:
        ValueError: if a descriptor is not finite.
    """
    labels = {}
    for name, some in samples.items():
        parts, labels[name] = describe_images(model, [default_collate(some)], describe)
        for kind, part in parts.items():
            if not part.isfinite().all():
                raise ValueError(
                    f'{name}: descriptor {kind!r} is not finite: correct model.data_preprocessor, '
                    'or give another checkpoint.'
                )
    return labels


def check_labels(name: str, labels: Tensor | None) -> Tensor:
    """The labels of a data set.

    Raises:
        ValueError: if there are none, or one is negative.
    """
    if labels is None or (labels < 0).any():
        raise ValueError(f'the images of {name} have no labels: set with_label=True.')
    return labels


def _forward(model: nn.Module, batch, device: torch.device):
    if not isinstance(batch, dict):
        images, labels = batch
        return model(images.to(device)), labels
    samples = batch.get('data_samples')
    labels = None
    if samples and 'gt_label' in samples[0]:
        labels = torch.cat([sample.gt_label for sample in samples])
    if hasattr(model, 'data_preprocessor'):
        return model(**model.data_preprocessor(batch, False), mode='tensor'), labels
    return model(batch['inputs'].to(device)), labels


def describe_dataset(
    model: nn.Module, dataset: Dataset, describe: Describe, progress: str = '', **options
) -> tuple[dict[str, Tensor], Tensor | None]:
    """Apply :func:`describe_images` to a data set that is divided among all processes.

    Every process gets the descriptors and labels of all M images, in the order of the data set, on
    the CPU.

    Args:
        options: ``batch_size`` and ``num_workers`` of the loader of each process.

    Raises:
        ValueError: if the data set has fewer images than there are processes.
    """
    if len(dataset) < dist.get_world_size():
        raise ValueError(
            f'{progress or "the data set"}: {len(dataset)} images are too few for '
            f'{dist.get_world_size()} processes.'
        )
    progress = progress if dist.is_main_process() else ''
    descriptors, labels = describe_images(model, shard(dataset, **options), describe, progress)
    descriptors = {name: _gather(part, len(dataset)) for name, part in descriptors.items()}
    return descriptors, None if labels is None else _gather(labels, len(dataset))


def shard(dataset: Dataset, **options) -> DataLoader:
    """A loader of the part of a data set for this process: every n-th sample for n processes."""
    first, step = dist.get_rank(), dist.get_world_size()
    part = Subset(dataset, range(first, len(dataset), step))
    return DataLoader(part, collate_fn=default_collate, **options)


def _gather(part: Tensor, total: int) -> Tensor:
    """Every n-th row, from this process -> all rows, on the CPU."""
    parts = dist.all_gather_object(part.cpu())
    rows = part.new_empty((total, *part.shape[1:]), device='cpu')
    for first, one in enumerate(parts):
        rows[first :: len(parts)] = one
    return rows


def pool(taps: Tensor | tuple[Tensor, ...], pooling: str, num_extra_tokens: int = 0) -> Tensor:
    """Last feature map as (B, 1+N, D) tokens, (B, C, H, W) map or (B, D) vector -> (B, D).

    Args:
        pooling: ``'mean'`` over patches without the class token, ``'cls'``, or ``'2x2'`` or
            ``'4x4'`` for the means of 4 or 16 equal parts of the image, side by side: (B, 4·D) or
            (B, 16·D). These keep where in the image something is, and so does ``'all'`` patches
            without a mean, (B, N·D).
        num_extra_tokens: tokens before the patches; the first one is the class token.

    Raises:
        ValueError: for another pooling, for ``'cls'`` without a class token, or for parts of an
            image whose patches do not form a square.
    """
    if pooling not in POOLINGS:
        raise ValueError(f'pooling={pooling!r} is not one of {POOLINGS}.')
    features = taps if isinstance(taps, Tensor) else taps[-1]
    if features.ndim == 2:
        return features
    if pooling == 'cls':
        if features.ndim == 4 or num_extra_tokens == 0:
            raise ValueError("pooling='cls' needs a class token, but there is none: use 'mean'.")
        return features[:, 0]
    if pooling == 'all':
        maps = features if features.ndim == 4 else features[:, num_extra_tokens:].mT
        return maps.flatten(1)
    if pooling in GRIDS:
        maps = features if features.ndim == 4 else _to_map(features[:, num_extra_tokens:])
        return F.adaptive_avg_pool2d(maps, GRIDS[pooling]).flatten(1)
    if features.ndim == 4:
        return features.mean(dim=(2, 3))
    return features[:, num_extra_tokens:].mean(dim=1)


def _to_map(tokens: Tensor) -> Tensor:
    """(B, h·h, D) tokens -> (B, D, h, h)."""
    side = isqrt(tokens.shape[1])
    if side * side != tokens.shape[1]:
        raise ValueError(
            f"{tokens.shape[1]} patches do not form a square: use pooling='mean' for such images."
        )
    return tokens.mT.unflatten(2, (side, side))

"""From images to one feature vector each."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from rich.progress import track
from torch import Tensor, nn

POOLINGS = ('mean', 'cls')


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Evaluate with a model, and give every module its own training mode back after."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


@torch.no_grad()
def extract_features(
    model: nn.Module, dataloader: Iterable, pooling: str = 'mean', progress: str = ''
) -> tuple[Tensor, Tensor | None]:
    """M images -> (M, D) fp32 features of the last tap, nothing hidden, and their (M,) labels.

    The model is used in :func:`evaluation_mode`.

    Args:
        model: a pre-training algorithm, whose data preprocessor then normalises the images, or a
            bare backbone, which takes them as they come.
        dataloader: of mmengine batches (collated by ``default_collate``), or of pairs
            ``(images, labels)``.
        pooling: see :func:`pool`.
        progress: title of a progress bar; none when empty.

    Returns:
        Both tensors on the model's device. Labels are None where the samples carry none.
    """
    features, labels = [], []
    device = next(model.parameters()).device
    backbone = getattr(model, 'backbone', model)
    with evaluation_mode(model):
        for batch in track(dataloader, progress) if progress else dataloader:
            taps, batch_labels = _forward(model, batch, device)
            features.append(pool(taps, pooling, getattr(backbone, 'num_extra_tokens', 0)).float())
            labels.append(batch_labels)
    has_labels = labels[0] is not None
    return torch.cat(features), torch.cat(labels).to(device) if has_labels else None


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


def pool(taps: Tensor | tuple[Tensor, ...], pooling: str, num_extra_tokens: int = 0) -> Tensor:
    """Last tap as (B, 1+N, D) tokens, (B, C, H, W) map or (B, D) vector -> (B, D).

    Args:
        pooling: ``'mean'`` over patches, without the class token, or ``'cls'``.
        num_extra_tokens: tokens before the patches; the first one is the class token.

    Raises:
        ValueError: for another pooling, or ``'cls'`` where there is no class token.
    """
    if pooling not in POOLINGS:
        raise ValueError(f'pooling={pooling!r} is not one of {POOLINGS}.')
    features = taps if isinstance(taps, Tensor) else taps[-1]
    if features.ndim == 2:
        return features
    if pooling == 'cls':
        if features.ndim == 4 or num_extra_tokens == 0:
            raise ValueError("pooling='cls' needs a class token, which is not there: use 'mean'.")
        return features[:, 0]
    if features.ndim == 4:
        return features.mean(dim=(2, 3))
    return features[:, num_extra_tokens:].mean(dim=1)

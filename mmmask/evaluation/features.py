"""From images to one feature vector each."""

from collections.abc import Callable, Iterable, Iterator
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


def extract_features(
    model: nn.Module, dataloader: Iterable, pooling: str = 'mean', progress: str = ''
) -> tuple[Tensor, Tensor | None]:
    """M images -> (M, D) fp32 features of the last tap, and their (M,) labels.

    See :func:`describe_images` for the arguments, and :func:`pool` for ``pooling``.
    """
    num_extra_tokens = getattr(getattr(model, 'backbone', model), 'num_extra_tokens', 0)

    def describe(taps) -> dict[str, Tensor]:
        return dict(features=pool(taps, pooling, num_extra_tokens))

    features, labels = describe_images(model, dataloader, describe, progress)
    return features['features'], labels


@torch.no_grad()
def describe_images(
    model: nn.Module,
    dataloader: Iterable,
    describe: Callable[[Tensor | tuple[Tensor, ...]], dict[str, Tensor]],
    progress: str = '',
) -> tuple[dict[str, Tensor], Tensor | None]:
    """M images -> fp32 descriptors (M, D) by name, nothing hidden, and their (M,) labels.

    The model is used in :func:`evaluation_mode`.

    Args:
        model: a pre-training algorithm or classifier without head, whose data preprocessor then
            normalises the images, or a bare backbone, which takes them as they come.
        dataloader: of mmengine batches (collated by ``default_collate``), or of pairs
            ``(images, labels)``.
        describe: what the backbone gives for B images -> descriptors (B, D) by name.
        progress: title of a progress bar; none when empty.

    Returns:
        Everything on the model's device. Labels are None where the samples carry none.
    """
    parts, labels = [], []
    device = next(model.parameters()).device
    with evaluation_mode(model):
        for batch in track(dataloader, progress) if progress else dataloader:
            taps, batch_labels = _forward(model, batch, device)
            parts.append({name: value.float() for name, value in describe(taps).items()})
            labels.append(batch_labels)
    descriptors = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    return descriptors, None if labels[0] is None else torch.cat(labels).to(device)


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

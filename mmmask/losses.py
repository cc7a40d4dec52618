"""Losses as pure functions of tensors. PyTorch only."""

import torch
import torch.nn.functional as F
from torch import Tensor


def masked_mean_squared_error(prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """(B, N, D) prediction and target, (B, N) weight -> scalar, in fp32.

    The mean squared error over D of each position, averaged over batch and positions with the
    weights: Σ weight·error / Σ weight. With the hidden patches as weights this is the loss of MAE.
    With rescaled weights it is one scale of the loss of LocalMIM (Wang et al., CVPR 2023).
    """
    return _masked_mean((prediction.float() - target.float()).square(), weight)


def masked_mean_absolute_error(prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """(B, N, D) prediction and target, (B, N) weight -> scalar, in fp32.

    As :func:`masked_mean_squared_error`, with the absolute error (Xie et al., SimMIM, CVPR 2022).
    """
    return _masked_mean((prediction.float() - target.float()).abs(), weight)


def masked_mean_smooth_error(prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """(B, N, D) prediction and target, (B, N) weight -> scalar, in fp32.

    As :func:`masked_mean_squared_error`, with half the squared error below 1 and the absolute error
    minus 1/2 above it.
    """
    errors = F.smooth_l1_loss(prediction.float(), target.float(), reduction='none')
    return _masked_mean(errors, weight)


def _masked_mean(errors: Tensor, weight: Tensor) -> Tensor:
    """(B, N, D) errors and (B, N) weight -> their mean over D, averaged with the weights."""
    return (errors.mean(dim=-1) * weight).sum() / weight.sum()


def info_nce(
    queries: Tensor, keys: Tensor, temperature: float, first_key: int = 0
) -> tuple[Tensor, Tensor]:
    """(B, D) queries and (M, D) keys -> scalar loss in fp32, accuracy.

    The loss is 2T · cross-entropy of cosine/T, where key ``first_key + i`` belongs to query i and
    all others are negatives. The factor keeps the gradient similar across temperatures (Chen et
    al., *An Empirical Study of Training Self-Supervised Vision Transformers*, ICCV 2021, section
    3). With T = 1 the loss remains far above 0, because a cosine is at most 1. The accuracy is the
    fraction of queries whose nearest key is their own.
    """
    labels = torch.arange(first_key, first_key + len(queries), device=queries.device)
    # Temperatures of a few hundredths need more precision than autocast provides.
    with torch.autocast(queries.device.type, enabled=False):
        logits = F.normalize(queries.float()) @ F.normalize(keys.float()).T / temperature
        loss = 2 * temperature * F.cross_entropy(logits, labels)
    return loss, (logits.argmax(dim=1) == labels).float().mean()


def negative_cosine(prediction: Tensor, targets: Tensor) -> Tensor:
    """(B, G, ..., D) and (B, T, ..., D) -> scalar in fp32: minus the mean cosine of all G·T pairs.

    The value is between −1 and 1, whatever the lengths of the vectors. With the embedding of the
    other view as target, 2 + 2 · this is the loss of BYOL (Grill et al., NeurIPS 2020, equation 2).
    """
    # The mean of the products equals the product with the mean.
    direction = F.normalize(targets.float(), dim=-1).mean(dim=1, keepdim=True)
    return -(F.normalize(prediction.float(), dim=-1) * direction).sum(dim=-1).mean()


def position_squared_error(logits: Tensor, places: Tensor) -> Tensor:
    """(B, K, N) logits and (B, K) raster indices -> scalar: mean (logit − one-hot)², in fp32.

    There is no softmax, and the mean is over tokens and classes. Zero logits give 1/N.
    """
    one_hot = F.one_hot(places, logits.shape[-1])
    return (logits.float() - one_hot).square().mean()


def position_cross_entropy(
    logits: Tensor, places: Tensor, grid: tuple[int, int], sigma: float = 0.0
) -> Tensor:
    """(B, K, N) logits, (B, K) raster indices on an (h, w) grid -> scalar, in fp32.

    With ``sigma`` above 0, nearby places count as partly correct: the target of a patch is
    proportional to exp(−distance²/σ²), with distances in patches (Wang et al., *DropPos*, NeurIPS
    2023).
    """
    logits, places = logits.float().flatten(0, 1), places.flatten()
    if not sigma:
        return F.cross_entropy(logits, places)
    index = torch.arange(grid[0] * grid[1], device=logits.device)
    points = torch.stack([index // grid[1], index % grid[1]], dim=1).float()
    distance = (points[places, None] - points).square().sum(dim=-1)
    return F.cross_entropy(logits, (-distance / sigma**2).softmax(dim=-1))

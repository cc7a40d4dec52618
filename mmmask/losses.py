"""Losses as pure functions of tensors. PyTorch only."""

from torch import Tensor


def masked_mean_squared_error(prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """(B, N, D) prediction and target, (B, N) weight -> scalar, in fp32.

    The mean squared error over D of each position, averaged over batch and positions with the
    weights: Σ weight·error / Σ weight. With the hidden patches as weights this is MAE's loss, with
    rescaled ones a single scale of LocalMIM's (Wang et al., CVPR 2023).
    """
    error = (prediction.float() - target.float()).square().mean(dim=-1)
    return (error * weight).sum() / weight.sum()

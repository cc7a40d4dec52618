"""Regression of targets at hidden positions."""

from collections.abc import Sequence

from mmengine.model import BaseModule
from torch import Tensor

from mmmask.losses import (
    masked_mean_absolute_error,
    masked_mean_smooth_error,
    masked_mean_squared_error,
)
from mmmask.masking import Mask, rescale_hidden
from mmmask.registry import MODELS

DISTANCES = dict(
    squared=masked_mean_squared_error,
    absolute=masked_mean_absolute_error,
    smooth=masked_mean_smooth_error,
)


@MODELS.register_module()
class MaskedRegressionHead(BaseModule):
    """Mean error on the hidden positions that are predicted, summed over scales with weight 1.

    For scales with another grid than the patch grid, the mask is rescaled to that grid (see
    :func:`mmmask.masking.rescale_hidden`).

    Args:
        distance: ``'squared'`` or ``'absolute'`` error, or ``'smooth'`` (squared below 1, absolute
            above).

    Raises:
        ValueError: for another distance.
    """

    def __init__(self, distance: str = 'squared', init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        if distance not in DISTANCES:
            raise ValueError(f'distance={distance!r} is not one of {tuple(DISTANCES)}.')
        self.distance = DISTANCES[distance]

    def forward(
        self,
        prediction: Tensor | Sequence[Tensor],
        target: Tensor | Sequence[Tensor],
        mask: Mask,
    ) -> dict[str, Tensor]:
        """(B, N_k, D_k) predictions and targets -> ``loss``, or ``loss_scale{k}`` for several.

        Raises:
            ValueError: if a prediction and its target differ in shape.
        """
        if isinstance(prediction, Tensor):
            return dict(loss=self.loss(prediction, target, mask))
        if len(prediction) != len(target):
            raise ValueError(f'{len(prediction)} predictions but {len(target)} targets.')
        return {
            f'loss_scale{scale}': self.loss(*pair, mask)
            for scale, pair in enumerate(zip(prediction, target, strict=True))
        }

    def loss(self, prediction: Tensor, target: Tensor, mask: Mask) -> Tensor:
        """(B, N', D) prediction and target, on the patch grid or a rescaled one -> scalar."""
        if prediction.shape != target.shape:
            raise ValueError(
                f'the prediction is {tuple(prediction.shape)} but the target is '
                f'{tuple(target.shape)} (images, positions, channels): make the scale of the '
                'decoder fit the patch or cell size of the target generator.'
            )
        factor = (prediction.shape[1] / mask.hidden.shape[1]) ** 0.5
        weight = rescale_hidden(mask.predicted, mask.grid, factor)
        return self.distance(prediction, target, weight)

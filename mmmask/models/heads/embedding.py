"""Head that predicts the embeddings of other views."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule, ModuleDict, ModuleList
from torch import Tensor

from mmmask.layers import gather_rows
from mmmask.losses import info_nce, negative_cosine
from mmmask.models.mlp import SYNC_BN, apply_rows, two_layers
from mmmask.registry import MODELS

LOSSES = ('cosine', 'infonce')
REDUCTIONS = ('loss_mean', 'vector_mean')


@MODELS.register_module()
class EmbeddingPredictionHead(BaseModule):
    """Predictors, and twice the negative cosine to the targets (BYOL).

    The loss is averaged over groups, queries and targets, so its scale does not depend on them.

    Args:
        in_channels: D, the width of the vectors; filled in by the algorithm.
        weights: name of each prediction -> weight of its loss; filled in by the algorithm.
        num_queries: Q; filled in by the algorithm.
        hidden_channels: hidden width of the predictors.
        loss: ``'cosine'``, or ``'infonce'`` with the targets of all images as negatives.
        target_reduce: ``'loss_mean'`` averages the loss over several targets; ``'vector_mean'``
            predicts the direction of their mean.
        temperature: temperature of InfoNCE.
        norm_cfg: norm of the predictors.

    Raises:
        ValueError: for an unknown loss or reduction.
    """

    def __init__(
        self,
        in_channels: int,
        weights: Mapping[str, float] | None = None,
        num_queries: int = 1,
        hidden_channels: int = 4096,
        loss: str = 'cosine',
        target_reduce: str = 'loss_mean',
        temperature: float = 0.2,
        norm_cfg: dict = SYNC_BN,
        init_cfg=None,
    ) -> None:
        super().__init__(init_cfg)
        for key, value, known in (
            ('loss', loss, LOSSES),
            ('target_reduce', target_reduce, REDUCTIONS),
        ):
            if value not in known:
                raise ValueError(f'{key}={value!r} is not one of {known}.')
        self.weights = dict(weights or dict(masked=1.0))
        self.kind = loss
        self.target_reduce = target_reduce
        self.temperature = temperature
        self.predictors = ModuleDict(
            {
                name: ModuleList(
                    two_layers(in_channels, hidden_channels, in_channels, norm_cfg)
                    for _ in range(num_queries)
                )
                for name in self.weights
            }
        )

    def predict(self, vectors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """(B, G, Q, D) image vectors -> (B, G, Q, D) predictions of the same names."""
        return {
            name: torch.stack(
                [
                    apply_rows(predictor, vectors[name][:, :, query])
                    for query, predictor in enumerate(predictors)
                ],
                dim=2,
            )
            for name, predictors in self.predictors.items()
        }

    def forward(self, vectors: Mapping[str, Tensor], targets: Tensor) -> dict[str, Tensor]:
        """(B, G, Q, D) image vectors, (B, T, Q, D) targets -> ``loss``, or one per prediction."""
        losses = {
            name: self.weights[name] * self.loss(prediction, targets)
            for name, prediction in self.predict(vectors).items()
        }
        if len(losses) == 1:
            return dict(loss=next(iter(losses.values())))
        return {f'loss_{name}': loss for name, loss in losses.items()}

    def loss(self, prediction: Tensor, targets: Tensor) -> Tensor:
        """(B, G, Q, D) and (B, T, Q, D) -> scalar in fp32."""
        if self.target_reduce == 'vector_mean':
            targets = F.normalize(targets.float(), dim=-1).mean(dim=1, keepdim=True)
        if self.kind == 'cosine':
            return 2 * negative_cosine(prediction, targets)
        losses = []
        for target in targets.flatten(1, 2).unbind(1):  # T·Q targets
            keys, first_key = gather_rows(target)
            query = len(losses) // prediction.shape[1] % prediction.shape[2]
            losses += [
                info_nce(group, keys, self.temperature, first_key)[0]
                for group in prediction[:, :, query].unbind(1)
            ]
        return torch.stack(losses).mean()

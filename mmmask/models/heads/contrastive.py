"""Contrastive head."""

from collections.abc import Sequence

from mmengine.model import BaseModule
from torch import Tensor

from mmmask.layers import gather_rows
from mmmask.losses import info_nce
from mmmask.models.building import Derived, build
from mmmask.registry import MODELS


@MODELS.register_module()
class ContrastiveHead(BaseModule):
    """Recognise each image among those of the batch: InfoNCE of predicted projections and keys.

    Args:
        predictor: config of the neck between projections and queries; None to use the projections.
        temperature: T, above 0.
        gather: whether the keys of all processes are negatives, or only those of this process.
        in_channels: E, the width of the projections; filled in by the algorithm.

    Raises:
        ValueError: for a temperature that is not above 0.
    """

    def __init__(
        self,
        predictor: dict | None = None,
        temperature: float = 1.0,
        gather: bool = False,
        in_channels: int | None = None,
        init_cfg=None,
    ) -> None:
        super().__init__(init_cfg)
        if temperature <= 0:
            raise ValueError(f'temperature={temperature} must be above 0, for example 0.07 to 1.')
        width = Derived(in_channels, 'the width of the projections')
        self.predictor = predictor and build(predictor, in_channels=width, out_channels=width)
        self.temperature = temperature
        self.gather = gather

    def forward(
        self, projections: Sequence[Tensor], keys: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """(B, E) projections and keys of each direction -> sum of the losses, mean accuracy."""
        results = []
        for projection, key in zip(projections, keys, strict=True):
            query = projection if self.predictor is None else self.predictor((projection,))[0]
            pool, first_key = gather_rows(key) if self.gather else (key, 0)
            results.append(info_nce(query, pool, self.temperature, first_key))
        losses, accuracies = zip(*results, strict=True)
        return sum(losses), sum(accuracies) / len(accuracies)

"""A head that tells images apart."""

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
        predictor: neck between the projections and the queries; None takes them as they are.
        temperature: T, above 0.
        in_channels: E, the width of the projections; the algorithm fills it in.
        gather: whether the keys of all processes are negatives, or only those of this one.

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
            raise ValueError(f'temperature={temperature} must be above 0; usual is 0.07 to 1.')
        width = Derived(in_channels, 'the width of the projections')
        self.predictor = predictor and build(predictor, in_channels=width, out_channels=width)
        self.temperature = temperature
        self.gather = gather

    def forward(
        self, projections: Sequence[Tensor], keys: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """(B, D) projections and keys per direction -> sum of the losses, mean accuracy."""
        results = []
        for projection, key in zip(projections, keys, strict=True):
            query = projection if self.predictor is None else self.predictor((projection,))[0]
            pool, first_key = gather_rows(key) if self.gather else (key, 0)
            results.append(info_nce(query, pool, self.temperature, first_key))
        losses, accuracies = zip(*results, strict=True)
        return sum(losses), sum(accuracies) / len(accuracies)

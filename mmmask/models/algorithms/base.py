"""The one picture of the project: mask, encode, decode, compare."""

from typing import NamedTuple

import torch
from mmengine.model import BaseModel
from torch import Tensor

from mmmask.masking import Mask
from mmmask.registry import MODELS


class Reconstruction(NamedTuple):
    """What a picture of a masked-image model needs, one prediction and target per scale.

    Attributes:
        images: (B, C, H, W) as the network sees them.
        grid: (h, w), the patch grid.
        mask: what was hidden.
        prediction: tuple of (B, N_k, D_k).
        target: tuple of (B, N_k, D_k).
    """

    images: Tensor
    grid: tuple[int, int]
    mask: Mask
    prediction: tuple[Tensor, ...]
    target: tuple[Tensor, ...]


@MODELS.register_module()
class MaskedImageModel(BaseModel):
    """Hide patches, encode the visible ones, predict a target at the hidden ones.

    Every box is a config and an attribute, so any mask generator, decoder and target go together.

    Args:
        backbone: masked backbone, ``forward(images, mask=None) -> taps``.
        masking: patch mask generator.
        neck: decoder, ``forward(taps, mask, grid) -> prediction``.
        target_generator: ``forward(images) -> target``.
        head: ``forward(prediction, target, mask, grid) -> losses``.
        parser: what reads this backbone for the evidence of the mask generator, such as
            :class:`EncoderParser`; for generators that need some.
    """

    num_views = 1  # of each image, that the loss compares

    def __init__(
        self,
        backbone: dict,
        masking: dict,
        neck: dict,
        target_generator: dict,
        head: dict,
        parser: dict | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor, init_cfg)
        self.backbone = MODELS.build(backbone)
        self.masking = MODELS.build(masking)
        evidence_kind = getattr(self.masking, 'evidence_kind', 'attention')
        self.parser = parser and MODELS.build(
            parser, default_args=dict(backbone=self.backbone, evidence_kind=evidence_kind)
        )
        self.neck = MODELS.build(neck)
        self.target_generator = MODELS.build(target_generator)
        self.head = MODELS.build(head)

    def forward(self, inputs, data_samples=None, mode: str = 'tensor'):
        """(B, C, H, W), or a list of views: a loss takes as many as it compares, the others one.

        ``'tensor'`` gives the backbone's features, nothing hidden; ``'loss'`` a dict of losses;
        ``'predict'`` a :class:`Reconstruction`.

        Raises:
            ValueError: for any other mode, or a loss of more views than there are.
        """
        views = [inputs] if isinstance(inputs, Tensor) else inputs
        if mode == 'tensor':
            return self.backbone(views[0])
        if mode == 'loss':
            if len(views) < self.num_views:
                raise ValueError(
                    f'{type(self).__name__} compares {self.num_views} views of each image but got '
                    f'{len(views)}: let mmpretrain.MultiView make them in the data pipeline.'
                )
            return self.loss(*views[: self.num_views])
        if mode == 'predict':
            return self.predict(views[0])
        raise ValueError(f"mode={mode!r} is not one of 'tensor', 'loss', 'predict'.")

    def draw_mask(self, images: Tensor) -> Mask:
        """(B, C, H, W) -> Mask of the backbone's patch grid."""
        evidence = self.parser(images) if self.masking.needs_evidence else None
        return self.masking(len(images), self.backbone.grid(images), images.device, evidence)

    def reconstruct(self, images: Tensor):
        """(B, C, H, W) -> mask, prediction."""
        mask = self.draw_mask(images)
        taps = self.backbone(images, mask)
        return mask, self.neck(taps, mask, self.backbone.grid(images))

    def loss(self, images: Tensor) -> dict[str, Tensor]:
        """(B, C, H, W) -> losses of one masked reconstruction."""
        mask, prediction = self.reconstruct(images)
        target = self.target_generator(images)
        return self.head(prediction, target, mask, self.backbone.grid(images))

    @torch.no_grad()
    def predict(self, images: Tensor) -> Reconstruction:
        """(B, C, H, W) -> mask, predictions and targets, for pictures."""
        mask, prediction = self.reconstruct(images)
        target = self.target_generator(images)
        if isinstance(prediction, Tensor):
            prediction, target = (prediction,), (target,)
        return Reconstruction(images, self.backbone.grid(images), mask, prediction, target)

    def get_layer_depth(self, param_name: str) -> tuple[int, int]:
        """Depth of a parameter and number of depths, for layer-wise learning rates."""
        return self.backbone.get_layer_depth(param_name, 'backbone.')

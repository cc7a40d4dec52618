"""The contrastive masked autoencoder of Huang et al."""

import torch
from torch import Tensor

from mmmask.layers import MomentumCopy
from mmmask.models.building import Derived, build
from mmmask.registry import MODELS

from .base import MaskedImageModel, require_weights, width_of_projections


@MODELS.register_module()
class CMAEHuang(MaskedImageModel):
    """Huang et al., *Contrastive Masked Autoencoders are Stronger Vision Learners*, 2207.13532.

    This is what most people mean by CMAE; the method of Mao et al. is :class:`CMAEMao`. A masked
    autoencoder reconstructs the first view. Its encoder also feeds a second decoder, whose mean
    output must recognise the second view among those of the batch. The second view is a slightly
    shifted window of the same crop with other colours. A momentum copy of the encoder encodes it
    without a mask.

    Two details follow the released code: the momentum encoder has no final norm, and the
    contrastive loss has one direction.

    Args:
        feature_decoder: config of a second :class:`TokenDecoder`.
        projector: config of the neck between the mean features and the contrastive loss.
        contrast_head: config of a :class:`ContrastiveHead`.
        momentum, final_momentum: of the copies of encoder and projector, see
            :class:`mmmask.layers.MomentumCopy`.
        contrast_weight: weight of the contrastive loss; reconstruction has weight 1.
        **kwargs: as in :class:`MaskedImageModel`.

    Raises:
        ValueError: for a negative weight.
    """

    num_views = 2

    def __init__(
        self,
        feature_decoder: dict,
        projector: dict,
        contrast_head: dict,
        momentum: float = 0.996,
        final_momentum: float | None = None,
        contrast_weight: float = 1.0,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        require_weights(contrast_weight=contrast_weight)
        width = Derived(self.backbone.embed_dims, 'the width of model.backbone')
        # The key is a mean patch token of the encoder, so the decoded features have its width.
        self.feature_decoder = build(feature_decoder, in_channels=width, out_channels=width)
        self.projector = build(projector, in_channels=width)
        self.contrast_head = build(contrast_head, in_channels=width_of_projections(projector))
        self.contrast_weight = contrast_weight
        self.momentum_copy = MomentumCopy(
            momentum, final_momentum, backbone=self.backbone, projector=self.projector
        )
        self.momentum_copy.module['backbone'].final_norm = False

    def loss(self, view: Tensor, shifted: Tensor) -> dict[str, Tensor]:
        """Two views (B, C, H, W), the second shifted and recoloured -> two losses, accuracy."""
        mask = self.draw_mask(view)
        taps = self.backbone(view, mask)
        prediction, target = self.neck(taps, mask), self.target_generator(view)
        features = self.feature_decoder(taps, mask).mean(dim=1)
        projection = self.projector((features,))[0]
        loss, accuracy = self.contrast_head([projection], [self.key(shifted)])
        return dict(
            loss_rec=self.head(prediction, target, mask)['loss'],
            loss_con=self.contrast_weight * loss,
            contrast_accuracy=accuracy,
        )

    @torch.no_grad()
    def key(self, shifted: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, E): the projected mean patch token of the momentum encoder."""
        copies = self.momentum_copy.module
        num_extra = copies['backbone'].num_extra_tokens
        features = copies['backbone'](shifted)[-1][:, num_extra:].mean(dim=1)
        return copies['projector']((features,))[0]

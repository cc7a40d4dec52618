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

    The CMAE that most people mean. (The one of Mao et al. is :class:`CMAEMao`.) A masked
    autoencoder of the first view, whose encoder also feeds a second decoder: the mean of what that
    gives must recognise the second view, seen whole by a momentum copy of the encoder. The second
    view is a slightly shifted window of the same crop with other colours.

    Two details of the released code: the momentum encoder leaves out the final norm, and the loss
    goes in one direction.

    Args:
        feature_decoder: a :class:`TokenDecoder` like ``neck``, with weights of its own.
        projector: neck between mean features and contrast.
        contrast_head: a :class:`ContrastiveHead`.
        momentum, final_momentum: of encoder and projector, see
            :class:`mmmask.layers.MomentumCopy`.
        contrast_weight: of the contrastive loss; reconstruction has weight 1.
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
        # The key is a mean patch of the encoder, so the mean of what is decoded has its width.
        self.feature_decoder = build(feature_decoder, in_channels=width, out_channels=width)
        self.projector = build(projector, in_channels=width)
        self.contrast_head = build(contrast_head, in_channels=width_of_projections(projector))
        self.contrast_weight = contrast_weight
        self.momentum_copy = MomentumCopy(
            momentum, final_momentum, backbone=self.backbone, projector=self.projector
        )
        self.momentum_copy.module['backbone'].final_norm = False

    def loss(self, view: Tensor, shifted: Tensor) -> dict[str, Tensor]:
        """(B, C, H, W), and the same shifted and recoloured -> two losses and an accuracy."""
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
        """(B, C, H, W) -> (B, E): the mean patch of the momentum encoder, projected."""
        copies = self.momentum_copy.module
        features = copies['backbone'](shifted)[-1][:, 1:].mean(dim=1)
        return copies['projector']((features,))[0]

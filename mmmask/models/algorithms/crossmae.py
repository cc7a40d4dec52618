"""Masked autoencoder whose decoder has no self-attention."""

from torch import Tensor

from mmmask.masking import Mask, predict_part
from mmmask.registry import MODELS

from .base import MaskedImageModel


@MODELS.register_module()
class CrossMAE(MaskedImageModel):
    """Fu et al., *Rethinking Patch Dependence for Masked Autoencoders*, 2401.14391 (TMLR 2025).

    Each hidden patch is predicted from the visible ones alone, by cross-attention, so it suffices
    to predict a part of them::

        mask       = predict_part(RandomMask(ratio=0.75)(images), 0.25)
        maps       = MaskedVisionTransformer(images, mask)       # after each of the 12 blocks
        prediction = CrossAttentionDecoder(depth=12)(maps, mask) # 49 of the 147 hidden patches
        target     = PixelTarget(normalize=True)(images)
        loss       = MaskedRegressionHead(prediction, target, mask)

    ``predict`` predicts all hidden patches, which are independent of each other.

    Args:
        predict_ratio: number of predicted patches as a fraction of all patches.
        **kwargs: as in :class:`MaskedImageModel`.
    """

    def __init__(self, predict_ratio: float = 0.25, **kwargs) -> None:
        super().__init__(**kwargs)
        self.predict_ratio = predict_ratio

    def draw_mask(self, images: Tensor) -> Mask:
        """(B, C, H, W) -> Mask of which a random part of the hidden patches is predicted.

        Raises:
            ValueError: if fewer patches are hidden than are to be predicted.
        """
        return predict_part(super().draw_mask(images), self.predict_ratio)

    def reconstruct(self, images: Tensor):
        """(B, C, H, W) -> mask, and the prediction of all hidden patches."""
        mask = super().draw_mask(images)
        return mask, self.neck(self.backbone(images, mask), mask)

    def loss(self, images: Tensor) -> dict[str, Tensor]:
        """(B, C, H, W) -> loss on the predicted part. Raises as :meth:`draw_mask`."""
        mask = self.draw_mask(images)
        prediction = self.neck(self.backbone(images, mask), mask)
        return self.head(prediction, self.target_generator(images), mask)

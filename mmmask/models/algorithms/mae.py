"""Masked autoencoder, the baseline of all comparisons."""

from mmmask.registry import MODELS

from .base import MaskedImageModel


@MODELS.register_module()
class MAE(MaskedImageModel):
    """He et al., *Masked Autoencoders Are Scalable Vision Learners*, CVPR 2022.

    The method is its components, as ``configs/_base_/models/mae_vit-base-p16.py`` states them::

        mask       = RandomMask(ratio=0.75)(images)                 # 49 of 196 patches are visible
        tokens     = MaskedVisionTransformer(images, mask)[-1]      # (B, 1+49, 768)
        prediction = TokenDecoder(depth=8, width=512)(tokens, mask) # (B, 196, 768)
        target     = PixelTarget(normalize=True)(images)            # (B, 196, 16·16·3)
        loss       = MaskedRegressionHead(prediction, target, mask) # mean over the hidden patches

    ``forward``, ``loss`` and ``predict`` are those of :class:`MaskedImageModel`.
    """

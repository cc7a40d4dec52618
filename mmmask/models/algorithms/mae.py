"""Masked autoencoder, the baseline everything is compared with."""

from mmmask.registry import MODELS

from .base import MaskedImageModel


@MODELS.register_module()
class MAE(MaskedImageModel):
    """He et al., *Masked Autoencoders Are Scalable Vision Learners*, CVPR 2022.

    The last layer of a masked ViT, one :class:`TokenDecoder`, pixels as target.
    """

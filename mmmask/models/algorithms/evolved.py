"""Masked image modelling with masks that evolve with the model."""

from mmmask.registry import MODELS

from .base import MaskedImageModel


@MODELS.register_module()
class EvolvedMIM(MaskedImageModel):
    """Feng and Zhang, *Evolved Hierarchical Masking for Self-Supervised Learning*, TPAMI 2025.

    The model itself parses the images, and the result determines what is hidden::

        evidence   = EncoderParser(backbone)(images)                # (B, 196, 196) attention
        mask       = EvolvedHierarchyMask(evidence)                 # from patches to 10 nodes
        prediction, target, loss as in MAE

    The only difference from :class:`MaskedImageModel` is that a parser is required. With
    :class:`EvolvedPartMask` this is evolved part masking (CVPR 2023). The same mask generators and
    parser also work in :class:`LocalMIM`.

    Args:
        parser: config of an :class:`EncoderParser`.
        **kwargs: as in :class:`MaskedImageModel`.
    """

    def __init__(self, parser: dict, **kwargs) -> None:
        super().__init__(parser=parser, **kwargs)

"""Masked-image modelling whose masks evolve with the model."""

from mmmask.registry import MODELS

from .base import MaskedImageModel


@MODELS.register_module()
class EvolvedMIM(MaskedImageModel):
    """Feng and Zhang, *Evolved Hierarchical Masking for Self-Supervised Learning*, TPAMI 2025.

    The model itself parses the images, and what it sees decides what is hidden. Nothing is added to
    :class:`MaskedImageModel` but that there must be a parser: with :class:`EvolvedPartMask` it is
    evolved part masking (CVPR 2023), and the same masking and parser go into :class:`LocalMIM`.

    Args:
        parser: config of an :class:`EncoderParser`.
        **kwargs: as in :class:`MaskedImageModel`.
    """

    def __init__(self, parser: dict, **kwargs) -> None:
        super().__init__(parser=parser, **kwargs)

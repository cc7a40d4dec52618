"""Masked-image modelling whose masks evolve with the model."""

from mmmask.registry import MODELS

from .base import MaskedImageModel


@MODELS.register_module()
class EvolvedMIM(MaskedImageModel):
    """Feng and Zhang, *Evolved Hierarchical Masking for Self-Supervised Learning*, TPAMI 2025.

    Any masked-image method with a parser: the model itself parses the images, and what it sees
    decides what is hidden. The loss does not change. With :class:`EvolvedPartMask` it is evolved
    part masking (CVPR 2023), with the decoders and targets of LocalMIM a LocalMIM with evolved
    masks.

    Args:
        parser: config of an :class:`EncoderParser`; it reads this model's backbone, for what the
            mask generator asks for.
        **kwargs: as in :class:`MaskedImageModel`.
    """

    def __init__(self, parser: dict, **kwargs) -> None:
        super().__init__(**kwargs)
        evidence_kind = getattr(self.masking, 'evidence_kind', 'attention')
        self.parser = MODELS.build(
            parser, default_args=dict(backbone=self.backbone, evidence_kind=evidence_kind)
        )

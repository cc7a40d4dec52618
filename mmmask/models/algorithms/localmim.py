"""Local multi-scale reconstruction."""

from mmmask.registry import MODELS

from .base import MaskedImageModel


@MODELS.register_module()
class LocalMIM(MaskedImageModel):
    """Wang et al., *Masked Image Modeling with Local Multi-Scale Reconstruction*, CVPR 2023.

    Several layers of the encoder are tapped, and each has a small decoder and a loss of its own:
    lower layers predict fine targets, upper layers coarse ones. The total is the plain sum, and
    nothing stops the gradient: each loss reaches all layers beneath its tap.
    """

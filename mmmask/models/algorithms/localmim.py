"""Local multi-scale reconstruction."""

from mmmask.registry import MODELS

from .base import MaskedImageModel


@MODELS.register_module()
class LocalMIM(MaskedImageModel):
    """Wang et al., *Masked Image Modeling with Local Multi-Scale Reconstruction*, CVPR 2023.

    Several layers of the encoder have a small decoder and a loss of their own: lower layers predict
    fine targets, upper layers coarse ones. The method is its components, as
    ``configs/_base_/models/localmim_vit-base-p16.py`` states them::

        mask        = RandomMask(ratio=0.75)(images)
        maps        = MaskedVisionTransformer(images, mask)         # after blocks 2, 4, 10, 12
        predictions = MultiScaleDecoder(maps, mask)                 # 56², 28², 14², 7² cells
        targets     = HOGTarget(cell_sizes=(4, 8, 16, 32))(images)  # 9 bins for each colour
        losses      = MaskedRegressionHead(predictions, targets, mask)

    The total is the plain sum of the losses, and nothing stops the gradient: each loss reaches all
    layers below its feature map. ``forward``, ``loss`` and ``predict`` are those of
    :class:`MaskedImageModel`.
    """

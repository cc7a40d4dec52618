"""I-JEPA: features of target blocks are predicted from the features of visible patches."""

import torch
from torch import Tensor

from mmmask.masking import Mask, gather_tokens
from mmmask.registry import MODELS

from .base import MaskedImageModel, Reconstruction


@MODELS.register_module()
class IJEPA(MaskedImageModel):
    """Assran et al., *Self-Supervised Learning from Images with a Joint-Embedding Predictive
    Architecture*, CVPR 2023.

    The method is its components, as ``configs/_base_/models/ijepa_vit-base-p16.py`` states them::

        mask       = TargetBlockMask(num_targets=4, scale=0.175)(images)  # 4 blocks of 34 patches
        tokens     = MaskedVisionTransformer(images, mask)[-1]            # (B, 58, 768)
        prediction = BlockPredictor(depth=6, width=384)(tokens, mask)     # (B, 4·34, 768)
        target     = MomentumTarget()(images)                             # (B, 196, 768)
        loss       = smooth absolute error of prediction and target of the patches of all blocks

    A patch of several blocks counts in each of them. The head chooses the ``distance``.
    """

    compares_blocks = True

    def loss(self, images: Tensor) -> dict[str, Tensor]:
        """(B, C, H, W) -> the loss, averaged over images, blocks and patches."""
        mask, prediction = self.reconstruct(images)
        target = gather_tokens(self.target(images, mask), mask.blocks.flatten(1))
        return dict(loss=self.head.distance(prediction, target, torch.ones_like(target[..., 0])))

    @torch.no_grad()
    def predict(self, images: Tensor) -> Reconstruction:
        """(B, C, H, W) -> mask that hides the blocks, mean prediction of each patch, and target."""
        mask, prediction = self.reconstruct(images)
        target = self.target(images, mask)
        places = mask.blocks.flatten(1).unsqueeze(2).expand_as(prediction)
        mean = torch.zeros_like(target).scatter_reduce(
            1, places, prediction.to(target.dtype), 'mean', include_self=False
        )
        return Reconstruction(images, mask._replace(hidden=mask.predicted), (mean,), (target,))

    def target(self, images: Tensor, mask: Mask) -> Tensor:
        """(B, C, H, W) -> (B, N, D) targets.

        Raises:
            ValueError: for another number of vectors than patches.
        """
        target = self.target_generator(images)
        if target.shape[1] != mask.hidden.shape[1]:
            raise ValueError(
                f'IJEPA compares one vector for each of the {mask.hidden.shape[1]} patches, but '
                f'the target has {target.shape[1]}: make its patch or cell size that of a patch.'
            )
        return target

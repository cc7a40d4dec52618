"""data2vec 2.0: several masks of an image share the features that they must predict."""

import torch.nn.functional as F
from torch import Tensor

from mmmask.registry import MODELS

from .base import MaskedImageModel, require_class_token, require_weights


@MODELS.register_module()
class Data2Vec2(MaskedImageModel):
    """Baevski et al., *Efficient Self-supervised Learning with Contextualized Target
    Representations for Vision, Speech and Language*, arXiv 2212.07525.

    A momentum copy of the encoder computes the target of an image once, and the encoder sees the
    image under ``num_masks`` masks. The components are those of
    ``configs/_base_/models/data2vec2_vit-base-p16.py``::

        target     = MomentumTarget(num_layers=10)(images)            # (B, 196, 768), once
        mask       = InverseBlockMask(ratio=0.8)(16 copies of images) # 39 of 196 are visible
        tokens     = MaskedVisionTransformer(16 copies, mask)[-1]     # (16·B, 1+39, 768)
        prediction = ConvDecoder(depth=6)(tokens, mask)               # (16·B, 196, 768)
        loss       = MaskedRegressionHead(prediction, target, mask)   # mean over hidden patches
        loss_class = squared error of the class token and the mean target

    Args:
        num_masks: masks of an image in a step.
        class_weight: weight of ``loss_class``; 0 turns it off, for targets of another width.
        **kwargs: as in :class:`MaskedImageModel`.

    Raises:
        ValueError: for less than one mask, a negative weight, or a loss of the class token of an
            encoder that has none or that has another width than the target.
    """

    def __init__(self, num_masks: int = 16, class_weight: float = 0.01, **kwargs) -> None:
        super().__init__(**kwargs)
        require_weights(class_weight=class_weight)
        if num_masks < 1:
            raise ValueError(f'num_masks={num_masks} must be at least 1.')
        if class_weight:
            require_class_token(self.backbone, f'class_weight={class_weight}', 'set it to 0')
            self._require_equal_widths(class_weight)
        self.num_masks = num_masks
        self.class_weight = class_weight

    def _require_equal_widths(self, class_weight: float) -> None:
        widths, channels = self.backbone.out_channels, self.target_channels().value
        width = widths if isinstance(widths, int) else widths[-1]
        if channels not in (None, width):
            raise ValueError(
                f'class_weight={class_weight} compares the class token, of width {width}, with the '
                f'mean target, of width {channels}: set it to 0, or use MomentumTarget as target '
                'generator.'
            )

    def loss(self, images: Tensor) -> dict[str, Tensor]:
        """(B, C, H, W) -> losses, averaged over images and masks."""
        target = _repeat(self.target_generator(images), self.num_masks)
        images = images.repeat_interleave(self.num_masks, 0)
        mask = self.draw_mask(images)
        taps = self.backbone(images, mask)
        losses = self.head(self.neck(taps, mask), target, mask)
        if self.class_weight:
            errors = F.mse_loss(taps[-1][:, 0].float(), target.mean(dim=1))
            losses['loss_class'] = self.class_weight * errors
        return losses


def _repeat(target: Tensor | tuple[Tensor, ...], number: int) -> Tensor | tuple[Tensor, ...]:
    """(B, N, D), or a tuple of these for scales -> the same with each image ``number`` times."""
    if isinstance(target, Tensor):
        return target.repeat_interleave(number, 0)
    return tuple(_repeat(one, number) for one in target)

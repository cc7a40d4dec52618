"""SimMIM: hidden patches go through the encoder as mask tokens, and one linear layer predicts."""

from collections.abc import Sequence

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmmask.layers import initialize_transformer
from mmmask.masking import Mask, rescale_hidden, units_to_raster
from mmmask.models.necks.token_decoder import require_one_scale
from mmmask.registry import MODELS

from .base import MaskedImageModel


@MODELS.register_module()
class SimMIM(MaskedImageModel):
    """Xie et al., *SimMIM: A Simple Framework for Masked Image Modeling*, CVPR 2022.

    After the patch embedding, hidden patches are replaced by a learnt token, and the encoder sees
    all positions. A linear layer predicts the pixels, and the loss is the absolute error of those
    that are hidden: :class:`LinearDecoder`, ``PixelTarget(normalize=False)`` and
    ``MaskedRegressionHead(distance='absolute')``. With HOG as target it is MaskFeat (Wei et al.,
    CVPR 2022).

    The mask token belongs to the method, so the state-dict names of the encoder stay mmpretrain's.

    Raises:
        ValueError: for a backbone without patch embedding, and as :class:`MaskedImageModel`.
    """

    encodes_hidden = True

    def __init__(self, **kwargs) -> None:
        super().__init__(**kwargs)
        if not hasattr(self.backbone, 'patch_embed'):
            raise ValueError(
                'SimMIM replaces hidden patches after the patch embedding, which '
                f'{type(self.backbone).__name__} does not have: use MAE as the method, with a '
                'ConvDecoder as neck.'
            )
        token = torch.empty(1, 1, self.backbone.patch_embed.embed_dims)
        self.mask_token = nn.Parameter(nn.init.trunc_normal_(token, std=0.02))
        self._mask = None  # of the images in the encoder; None outside of reconstruct
        # Registered once: a hook that is registered in every step breaks a compiled graph.
        self.backbone.patch_embed.register_forward_hook(self._hide)

    def reconstruct(self, images: Tensor):
        """(B, C, H, W) -> mask, prediction."""
        mask = self._mask = self.draw_mask(images)
        try:
            taps = self.backbone(images)
        finally:
            self._mask = None
        return mask, self.neck(taps, mask)

    def _hide(self, layer: nn.Module, inputs: tuple, outputs: tuple) -> tuple:
        """(B, L, D) embedded patches, where L may be finer than the grid of the mask."""
        mask, (patches, size) = self._mask, outputs
        if mask is None:
            return outputs
        factor = (patches.shape[1] / mask.hidden.shape[1]) ** 0.5
        hidden = rescale_hidden(mask.hidden, mask.grid, factor).bool().unsqueeze(2)
        return torch.where(hidden, self.mask_token.to(patches.dtype), patches), size


@MODELS.register_module()
class LinearDecoder(BaseModule):
    """A linear layer from the last feature map to the vectors of each patch.

    Args:
        in_channels: width of the encoder's tokens; of several feature maps, the last is read.
        out_channels: length of the predicted vectors.
        scale: vectors along a side of a patch, such as cells of a histogram.

    Raises:
        ValueError: if the target has several scales.
    """

    reads_hidden = True

    def __init__(
        self,
        in_channels: int | Sequence[int],
        out_channels: int,
        scale: int = 1,
        init_cfg=None,
    ) -> None:
        super().__init__(init_cfg)
        require_one_scale(self, out_channels)
        in_channels = in_channels if isinstance(in_channels, int) else in_channels[-1]
        self.scale = scale
        self.projection = nn.Linear(in_channels, scale**2 * out_channels)

    def init_weights(self) -> None:
        """Initialise as the other decoders."""
        super().init_weights()
        initialize_transformer(self)

    def forward(self, taps: Sequence[Tensor], mask: Mask) -> Tensor:
        """(B, [1+]N, D) tokens or (B, D, h, w) maps -> (B, N·scale², out_channels)."""
        tokens = taps[-1].flatten(2).mT if taps[-1].dim() == 4 else taps[-1]
        vectors = self.projection(tokens[:, -mask.hidden.shape[1] :])
        vectors = vectors.unflatten(2, (self.scale**2, -1)).flatten(1, 2)
        return units_to_raster(vectors, mask.grid)

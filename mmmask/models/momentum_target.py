"""Features of a momentum copy of the encoder as targets."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmmask.layers import StillCopy
from mmmask.registry import MODELS


@MODELS.register_module()
class MomentumTarget(nn.Module):
    """The patch features that a momentum copy of the encoder computes of whole images.

    With one layer, the target is its feature map with every position normalised to mean 0 and
    variance 1 (Assran et al., I-JEPA, CVPR 2023). With several, it is the mean of the last layers:
    every channel of a layer is first normalised over the positions of the image, and their mean is
    then normalised like the target of one layer (Baevski et al., data2vec 2.0, arXiv 2212.07525).

    :class:`mmmask.engine.hooks.MomentumUpdateHook` updates the copy.

    Args:
        backbone: the online encoder; filled in by the algorithm.
        momentum, final_momentum: see :class:`mmmask.layers.MomentumCopy`.
        num_layers: number of the last layers of a transformer that are averaged.

    Raises:
        ValueError: if the encoder does not have as many layers.
    """

    def __init__(
        self,
        backbone: nn.Module,
        momentum: float = 0.996,
        final_momentum: float | None = 1.0,
        num_layers: int = 1,
    ) -> None:
        super().__init__()
        self.copy = StillCopy(momentum, final_momentum, encoder=backbone)
        self.num_layers = num_layers
        depth = len(getattr(backbone, 'layers', [None]))
        if not 1 <= num_layers <= depth:
            raise ValueError(
                f'num_layers={num_layers} must lie in 1..{depth}, the layers of '
                f'{type(backbone).__name__} whose mean is a target.'
            )
        if num_layers > 1:
            self.encoder.out_indices = list(range(depth - num_layers, depth))
        widths = backbone.out_channels
        self.width = widths if isinstance(widths, int) else widths[-1]

    @property
    def encoder(self) -> nn.Module:
        """The copy that is read."""
        return self.copy.module['encoder']

    def init_weights(self) -> None:
        """Copy the initialised encoder."""
        self.copy.synchronize()

    def channels(self, in_channels: int) -> int:
        """Length of the target vectors: the width of the last layer."""
        return self.width

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, N, D) in fp32, positions in raster order."""
        encoder = self.encoder
        num_extra = getattr(encoder, 'num_extra_tokens', 0)
        maps = [
            tap.float().flatten(2).mT if tap.dim() == 4 else tap[:, num_extra:].float()
            for tap in encoder(images)[-self.num_layers :]
        ]
        if self.num_layers > 1:
            maps = [F.instance_norm(tokens.mT).mT for tokens in maps]
        return F.layer_norm(torch.stack(maps).mean(dim=0), (self.width,))

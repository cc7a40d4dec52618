"""The convolutional networks of mmpretrain, with hidden positions that stay empty."""

from math import prod

from mmpretrain.models.backbones import ConvNeXt, ResNet
from mmpretrain.models.utils import GRN
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmmask.masking import Mask, gather_positions, hide_positions, scatter_positions
from mmmask.registry import MODELS

from .masked_encoder import MaskedEncoder
from .options import check_out_indices


class MaskedConvolutions(MaskedEncoder):
    """Makes a convolutional network of mmpretrain accept a mask (Tian et al., SparK, ICLR 2023).

    The results are those of submanifold sparse convolutions, without a library for them: every
    hidden position is 0 in the images and after every layer. Norms over several positions
    (BatchNorm, SyncBN, GroupNorm) receive the visible positions only, so their statistics are those
    of visible positions. A mask hides units, squares of pixels that become one position of the last
    stage. Modules and state-dict names are those of mmpretrain.

    Attributes:
        filling: layers after which a hidden position may be other than 0, unless a norm over
            several positions follows directly.

    Raises:
        ValueError: for invalid ``out_indices``, or for ``with_cp``.
    """

    filling: tuple[type[nn.Module], ...]
    returns_maps = True  # with a mask, too

    def __init__(self, **kwargs) -> None:
        if kwargs.get('with_cp'):
            raise ValueError(
                'with_cp=True does not work with a mask, because the backward pass would repeat '
                'the layers without it: leave it out.'
            )
        super().__init__(**kwargs)
        check_out_indices(self.out_indices, self.num_stages)
        self._mask = None  # of the images in the encoder; None without a mask
        # Registered once: a hook that is registered in every step breaks a compiled graph.
        for layer in self.modules():
            if isinstance(layer, _BatchNorm | nn.GroupNorm):
                layer.register_forward_pre_hook(self._gather)
                layer.register_forward_hook(self._scatter)
            elif isinstance(layer, self.filling):
                layer.register_forward_hook(self._hide, with_kwargs=True)

    def forward(self, images: Tensor, mask: Mask | None = None) -> tuple[Tensor, ...]:
        """(B, C, H, W) -> one (B, C_k, H_k, W_k) map per tap, 0 at the hidden positions.

        Without a mask the result is that of the parent class.

        Raises:
            ValueError: if there is a mask and the unit does not divide the image.
        """
        if mask is None:
            return super().forward(images)
        self.grid(images)
        self._mask = mask
        try:
            return super().forward(hide_positions(images, mask))
        finally:
            self._mask = None

    def _gather(self, layer: nn.Module, inputs: tuple[Tensor]) -> Tensor | None:
        return None if self._mask is None else gather_positions(inputs[0], self._mask)

    def _scatter(self, layer: nn.Module, inputs: tuple, maps: Tensor) -> Tensor:
        return maps if self._mask is None else scatter_positions(maps, self._mask)

    def _hide(self, layer: nn.Module, inputs: tuple, options: dict, maps: Tensor) -> Tensor:
        if self._mask is None:
            return maps
        if isinstance(layer, nn.Linear) or options.get('data_format') == 'channel_last':
            return hide_positions(maps.movedim(3, 1), self._mask).movedim(1, 3)
        return hide_positions(maps, self._mask)


@MODELS.register_module()
class MaskedResNet(MaskedConvolutions, ResNet):
    """mmpretrain's ``ResNet`` that accepts a mask, see :class:`MaskedConvolutions`.

    Args:
        **kwargs: arguments of ``mmpretrain.ResNet``.
    """

    filling = (nn.MaxPool2d, nn.AvgPool2d)  # a norm follows every convolution

    @property
    def patch_size(self) -> int:
        """Pixels along the side of a mask unit."""
        return 4 * prod(self.strides)

    @property
    def widths(self) -> list[int]:
        """Channels of each stage."""
        return [self.base_channels * self.expansion * 2**stage for stage in range(self.num_stages)]


@MODELS.register_module()
class MaskedConvNeXt(MaskedConvolutions, ConvNeXt):
    """mmpretrain's ``ConvNeXt``, V1 or V2, that accepts a mask, see :class:`MaskedConvolutions`.

    Global response norms (Woo et al., ConvNeXt V2, CVPR 2023) sum over positions, of which the
    hidden ones are 0, so they see visible positions only.

    Args:
        gap_before_final_norm: must be False, because maps are needed.
        **kwargs: other arguments of ``mmpretrain.ConvNeXt``.

    Raises:
        ValueError: for ``gap_before_final_norm=True``.
    """

    filling = (nn.Conv2d, nn.Linear, nn.LayerNorm, GRN)

    def __init__(self, gap_before_final_norm: bool = False, **kwargs) -> None:
        if gap_before_final_norm:
            raise ValueError(
                'gap_before_final_norm=True returns vectors, but pre-training needs maps: leave it '
                'out.'
            )
        super().__init__(gap_before_final_norm=False, **kwargs)

    @property
    def patch_size(self) -> int:
        """Pixels along the side of a mask unit."""
        return self.downsample_layers[0][0].stride[0] * 2 ** (self.num_stages - 1)

    @property
    def widths(self) -> list[int]:
        """Channels of each stage."""
        return self.channels

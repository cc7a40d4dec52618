"""The vision transformer of mmpretrain, applied to visible patches only."""

from functools import partial

from mmpretrain.models.backbones import VisionTransformer
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmmask.layers import initialize_transformer, sincos_position_embedding
from mmmask.masking import Mask
from mmmask.models.vit import embed, position_table, walk
from mmmask.registry import MODELS

from .masked_encoder import MaskedEncoder
from .options import check_image_size, check_out_indices, find_depth, make_drop_rates_plain


@MODELS.register_module()
class MaskedVisionTransformer(MaskedEncoder, VisionTransformer):
    """mmpretrain's ``VisionTransformer`` that accepts a mask (He et al., MAE, CVPR 2022).

    The encoder sees only the class token, if it has one, and the visible patches. State-dict names
    are those of mmpretrain, so the encoder loads unchanged into mmpretrain, mmdet and mmseg
    networks. The position embedding is the fixed sine-cosine table and is not trained.

    Args:
        arch, img_size, patch_size: as in ``mmpretrain.VisionTransformer``. Images may have another
            size than ``img_size``; the position table is then interpolated.
        with_cls_token: whether there is a class token; I-JEPA, for example, has none.
        out_type: ``'raw'`` returns all tokens. With a mask, outputs are always raw.
        with_cp: compute the activations within the blocks again in the backward pass instead of
            storing them: less memory, more time, the same gradients.
        **kwargs: other arguments of ``mmpretrain.VisionTransformer``.

    Raises:
        ValueError: for an invalid architecture, image size or ``out_indices``.
    """

    unit = 'patches'

    def __init__(
        self, arch='base', img_size=224, patch_size=16, out_type='raw', with_cp=False, **kwargs
    ) -> None:
        check_out_indices(kwargs.get('out_indices', -1), find_depth(arch, self.arch_zoo))
        check_image_size(img_size, patch_size)
        super().__init__(
            arch=arch, img_size=img_size, patch_size=patch_size, out_type=out_type, **kwargs
        )
        make_drop_rates_plain(self)
        if with_cp:
            for layer in self.layers:
                layer.forward = partial(checkpoint, layer.forward, use_reentrant=False)
        self.patch_size = patch_size
        self.pos_embed.requires_grad_(False)
        self._fill_position_embedding()

    def _fill_position_embedding(self) -> None:
        has_class = self.cls_token is not None
        table = sincos_position_embedding(self.patch_resolution, self.embed_dims, has_class)
        self.pos_embed.data.copy_(table)

    def init_weights(self) -> None:
        """Initialise as in the MAE reference, unless ``init_cfg`` names a checkpoint."""
        super().init_weights()
        if isinstance(self.init_cfg, dict) and self.init_cfg['type'] == 'Pretrained':
            return
        initialize_transformer(self)
        projection = self.patch_embed.projection.weight
        nn.init.xavier_uniform_(projection.view(projection.shape[0], -1))
        if self.cls_token is not None:
            nn.init.normal_(self.cls_token, std=0.02)
        self._fill_position_embedding()

    @property
    def widths(self) -> list[int]:
        """Channels of each block."""
        return [self.embed_dims] * self.num_layers

    @property
    def strides(self) -> tuple[int, ...]:
        """Pixels along the side of a token, for each returned feature map."""
        return (self.patch_size,) * len(self.out_indices)

    def position(self, grid: tuple[int, int]) -> Tensor:
        """(h, w) -> (1, [1+]N, D) position embedding of this grid."""
        return position_table(self, grid)

    def embed(
        self, images: Tensor, mask: Mask | None = None, position: Tensor | None = None
    ) -> Tensor:
        """(B, C, H, W) -> (B, [1+]K, D) tokens before the first block, as in `mmmask.models.vit`.

        Raises:
            ValueError: if the patch size does not divide the image.
        """
        self.grid(images)
        return embed(self, images, mask, position)[0]

    def forward(
        self, images: Tensor, mask: Mask | None = None, position: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """(B, C, H, W) -> one (B, [1+]K, D) tensor per tap, class token first.

        Taps are the outputs of the blocks in ``out_indices``. Without a mask the result is that of
        the parent class. The final norm, if the model has one, is applied to the last block only.

        Args:
            images: (B, C, H, W).
            mask: which patches the encoder sees.
            position: (B or 1, [1+]N, D) added instead of the table; only with a mask.
        """
        if mask is None:
            return super().forward(images)
        taps = []
        for index, tokens in enumerate(walk(self, self.embed(images, mask, position))):
            if index == self.num_layers - 1 and self.final_norm:
                tokens = self.ln1(tokens)
            if index in self.out_indices:
                taps.append(tokens)
        return tuple(taps)

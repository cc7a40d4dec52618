"""Evidence for mask generators, read from the model that is being trained."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmmask.layers import StillCopy
from mmmask.registry import MODELS

from .vit import attention_probabilities, embed, run_with_attention


@MODELS.register_module()
class EncoderParser(nn.Module):
    """Reads the encoder on unmasked images: its attention, or the features of its last layer.

    The papers on evolved masking state that the model itself parses the image by its attention.
    Which copy of the model and which layers are read are options of this project. The default, a
    momentum copy and all layers, follows the released code of evolved part masking. There is no
    gradient, and attention is computed and summed in fp32 also under autocast.

    Args:
        backbone: the online encoder; a ViT for attention.
        evidence_kind: ``'attention'``, or ``'features'`` for encoders without global attention.
        momentum: of the momentum copy. With 1 the copy never changes; with None the online encoder
            is read.
        layers: layers whose attention is summed: None for all, n for the first n, −n for the last
            n, or indices. Layers after the last of them are not run.
        online_patches: embed patches by the online encoder, as the released code of evolved part
            masking does. The class token and the blocks are still those of the copy.

    Attributes:
        chunk_size: number of images that are read at a time. The attention of one image takes 1.9
            MB for 12 heads and 197 tokens.

    Raises:
        ValueError: for another kind, layers that do not exist, or an online encoder with dropout,
            which would make the evidence random.
    """

    chunk_size = 128

    def __init__(
        self,
        backbone: nn.Module,
        evidence_kind: str = 'attention',
        momentum: float | None = 0.9999,
        layers: int | Sequence[int] | None = None,
        online_patches: bool = False,
    ) -> None:
        super().__init__()
        if evidence_kind not in ('attention', 'features'):
            raise ValueError(f"evidence_kind={evidence_kind!r} is not 'attention' or 'features'.")
        if momentum is None and any(_drops(module) for module in backbone.modules()):
            raise ValueError(
                'momentum=None reads the online encoder, whose dropout would make the evidence '
                'random: set momentum, or set the drop rates of the backbone to 0.'
            )
        if evidence_kind == 'features' and layers is not None:
            raise ValueError(f'layers={layers} chooses attention; features are of the last layer.')
        if evidence_kind == 'attention' and not hasattr(backbone, 'layers'):
            raise ValueError(
                f'{type(backbone).__name__} has no attention between all patches: use a ViT, or '
                "EvolvedHierarchyMask with affinity='feat_cos', which needs features."
            )
        self.evidence_kind = evidence_kind
        self.online_patches = online_patches
        self.copy = None if momentum is None else StillCopy(momentum, encoder=backbone)
        # In a tuple, so that the backbone is not registered as a submodule of the parser.
        self._online = (backbone,)
        if evidence_kind == 'attention':
            self.layers = _choose_layers(layers, len(backbone.layers))

    @property
    def encoder(self) -> nn.Module:
        """The encoder that is read."""
        return self._online[0] if self.copy is None else self.copy.module['encoder']

    def init_weights(self) -> None:
        """Copy the initialised encoder."""
        if self.copy is not None:
            self.copy.synchronize()

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, N, N) attention summed over layers and heads, or (B, N, D) features.

        Attention has row = query. Both are fp32 and exclude the class token.
        """
        device = images.device.type
        read = self.read_attention if self.evidence_kind == 'attention' else self.read_features
        # Without the cache of autocast: in older PyTorch, a weight that is cast here without
        # gradient would be reused for training.
        with torch.autocast(
            device,
            dtype=torch.get_autocast_dtype(device),
            enabled=torch.is_autocast_enabled(device),
            cache_enabled=False,
        ):
            return torch.cat([read(chunk) for chunk in images.split(self.chunk_size)])

    def read_attention(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, N, N)."""
        patch_embed = self._online[0].patch_embed if self.online_patches else None
        tokens, _ = embed(self.encoder, images, patch_embed=patch_embed)
        total = 0.0
        for index, layer in enumerate(self.encoder.layers):
            if index == self.layers[-1]:
                probabilities, _ = attention_probabilities(layer.attn, layer.ln1(tokens))
                total = total + probabilities.sum(dim=1)
                break
            if index in self.layers:
                tokens, probabilities = run_with_attention(layer, tokens)
                total = total + probabilities.sum(dim=1)
            else:
                tokens = layer(tokens)
        num_extra = self.encoder.num_extra_tokens
        return total[:, num_extra:, num_extra:]

    def read_features(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, N, D) patch features of the last layer.

        Raises:
            ValueError: if the last feature map is not on the grid of the masks.
        """
        grid = self.encoder.grid(images)
        tap = self.encoder(images)[-1]
        if tap.dim() == 4:
            tap = tap.flatten(2).mT
        num_extra = getattr(self.encoder, 'num_extra_tokens', 0)
        if tap.shape[1] != num_extra + grid[0] * grid[1]:
            raise ValueError(
                f'the last feature map has {tap.shape[1] - num_extra} positions but the grid of '
                f'masks is {grid[0]}x{grid[1]}: let out_indices of the backbone end with its last '
                'stage.'
            )
        return tap[:, num_extra:].float()


def _choose_layers(layers: int | Sequence[int] | None, depth: int) -> list[int]:
    indices = list(range(depth))
    if layers is None:
        return indices
    if isinstance(layers, int):
        chosen = indices[:layers] if layers > 0 else indices[layers:]
        exists = 1 <= abs(layers) <= depth
    else:
        chosen = sorted({index % depth for index in layers})
        exists = len(layers) > 0 and all(-depth <= index < depth for index in layers)
    if not exists:
        raise ValueError(
            f'layers={layers} of an encoder with {depth}: use None for all, a number of first '
            f'(1..{depth}) or last (−{depth}..−1) layers, or indices in 0..{depth - 1}.'
        )
    return chosen


def _drops(module: nn.Module) -> bool:
    return any((getattr(module, name, 0) or 0) > 0 for name in ('p', 'drop_prob'))

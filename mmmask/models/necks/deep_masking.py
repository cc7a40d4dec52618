"""Image vectors from groups of visible positions in the feature maps of an encoder."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule, ModuleDict, ModuleList
from mmpretrain.models.backbones.vision_transformer import TransformerEncoderLayer
from torch import Tensor, nn

from mmmask.layers import sincos_position_embedding
from mmmask.masking import gather_tokens
from mmmask.models.mlp import SYNC_BN, apply_rows, two_layers
from mmmask.registry import MODELS

FUSIONS = ('joint', 'per_level', 'cross', 'mean')
POOLINGS = dict(mean=lambda maps: maps.mean((2, 3)), max=lambda maps: maps.amax((2, 3)))
Targets = Sequence[tuple[int, str]]


def describe(maps: Sequence[Tensor], projectors: nn.ModuleDict, targets: Targets) -> Tensor:
    """L maps (B, C_l, H_l, W_l) -> (B, Q, D): a pooled and projected vector for each target."""
    vectors = [
        apply_rows(projectors[f'{level % len(maps)}'], POOLINGS[pooling](maps[level]))
        for level, pooling in targets
    ]
    return torch.stack(vectors, dim=1)


class QueryLayer(TransformerEncoderLayer):
    """The encoder layer of mmpretrain, computed only for some rows, the queries."""

    def forward(self, queries: Tensor, context: Tensor) -> Tensor:
        """(S, Q, D) queries, (S, T, D) tokens that they attend to -> (S, Q, D)."""
        qkv, split = self.attn.qkv, (self.embed_dims, 2 * self.embed_dims)
        (weight, weights), (bias, biases) = qkv.weight.split(split), qkv.bias.split(split)
        query = self._heads(F.linear(self.ln1(queries), weight, bias))
        key, value = self._heads(F.linear(self.ln1(context), weights, biases)).chunk(2, dim=1)
        mixed = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        queries = queries + self.attn.proj(mixed)
        return self.ffn(self.ln2(queries), identity=queries)

    def _heads(self, rows: Tensor) -> Tensor:
        return rows.unflatten(2, (-1, self.attn.head_dims)).transpose(1, 2)


class DeepMaskingTransformer(BaseModule):
    """Q learned queries that combine a sparse set of tokens into image vectors.

    Pre-norm blocks act on queries and tokens. Only the queries are read, so the last block computes
    only their rows.

    Args:
        embed_dims: D.
        depth: number of blocks.
        num_heads: attention heads of a block.
        mlp_ratio: width of the hidden layer of a block divided by D.
        num_queries: Q.
        fusion: ``'joint'``: self-attention of queries and tokens. ``'cross'``: the queries attend
            to the tokens, which do not change. ``'mean'``: the tokens are averaged.
    """

    def __init__(
        self,
        embed_dims: int,
        depth: int,
        num_heads: int,
        mlp_ratio: float,
        num_queries: int,
        fusion: str = 'joint',
    ) -> None:
        super().__init__()
        self.num_queries = num_queries
        self.fusion = fusion
        if fusion != 'mean':
            self.query = nn.Parameter(torch.zeros(1, num_queries, embed_dims))
            classes = [TransformerEncoderLayer] * (depth - 1) + [QueryLayer]
            self.layers = ModuleList(
                (QueryLayer if fusion == 'cross' else layer_class)(
                    embed_dims, num_heads, int(mlp_ratio * embed_dims)
                )
                for layer_class in classes
            )
        self.norm = nn.LayerNorm(embed_dims)

    def init_weights(self) -> None:
        """Linear layers are truncated N(0, 0.02²) with zero biases, queries N(0, 0.02²)."""
        super().init_weights()
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)
        if self.fusion != 'mean':
            nn.init.normal_(self.query, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        """(S, T, D) -> (S, Q, D)."""
        if self.fusion == 'mean':
            return self.norm(tokens.mean(1, keepdim=True)).expand(-1, self.num_queries, -1)
        queries = self.query.expand(len(tokens), -1, -1)
        if self.fusion == 'cross':
            for layer in self.layers:
                queries = layer(queries, tokens)
            return self.norm(queries)
        sequence = torch.cat([queries, tokens], dim=1)
        *layers, last = self.layers
        for layer in layers:
            sequence = layer(sequence)
        return self.norm(last(sequence[:, : self.num_queries], sequence))


@MODELS.register_module()
class DeepMaskingNeck(BaseModule):
    """Level projectors and deep-masking transformer (Liu et al., MaskDeep, 2023).

    The vectors at the visible positions are gathered before they are projected. Therefore nothing
    hidden reaches the result, not even through the statistics of a norm. A token is the sum of the
    normed projection, a position code that all levels share, and an embedding of the level.

    Only the abstract of the paper is known. That a transformer combines the patches, and every
    default here, are choices of this project.

    Args:
        in_channels: C_l of the maps, finest first; filled in by the algorithm if it knows them.
        embed_dims: D.
        hidden_channels: hidden widths of the projectors; 2·C_l by default.
        fusion: ``'joint'``: one transformer on the tokens of all levels. ``'per_level'``: one
            transformer and one loss for each level. ``'cross'`` or ``'mean'``: see
            :class:`DeepMaskingTransformer`. None: only pooled maps are read, as in BYOL.
        depth, num_heads, mlp_ratio: of the transformer.
        targets: what is predicted: pairs of level and pooling (``'mean'`` or ``'max'``). Each has a
            query and a predictor.
        level_weights: weights of the losses of ``'per_level'``, by default evenly from 0.4 to 1,
            because upper levels see more of the image. These are the weights of DetCo from memory;
            they were not checked against the paper.
        global_weight: if above 0, the prediction of BYOL is added with this weight.
        position_extent: number of cells along an image side to which the positions of all levels
            are scaled.
        norm_cfg: norm of the projectors.

    Raises:
        ValueError: for an unknown fusion or target, no blocks, heads that do not divide the width,
            lists of different lengths, or levels that would not be trained.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        embed_dims: int = 256,
        hidden_channels: Sequence[int] | None = None,
        fusion: str | None = 'joint',
        depth: int = 2,
        num_heads: int = 8,
        mlp_ratio: float = 4,
        targets: Targets = ((-1, 'mean'),),
        level_weights: Sequence[float] | None = None,
        global_weight: float = 0.0,
        position_extent: float = 56,
        norm_cfg: dict = SYNC_BN,
        init_cfg=None,
    ) -> None:
        super().__init__(init_cfg)
        num_levels = len(in_channels)
        hidden_channels = hidden_channels or [2 * channels for channels in in_channels]
        level_weights = level_weights or torch.linspace(1, 0.4, num_levels).flip(0).tolist()
        if fusion is not None and fusion not in FUSIONS:
            raise ValueError(f'fusion={fusion!r} is not one of {FUSIONS}, or None for BYOL.')
        if depth < 1:
            raise ValueError(f"depth={depth} must be at least 1; use fusion='mean' for no blocks.")
        if embed_dims % num_heads or embed_dims % 4:
            raise ValueError(
                f'embed_dims={embed_dims} must be divisible by num_heads={num_heads} and by 4.'
            )
        if not len(hidden_channels) == len(level_weights) == num_levels:
            raise ValueError(
                f'in_channels={in_channels}, hidden_channels={hidden_channels} and '
                f'level_weights={level_weights} must have one value for each level.'
            )
        for level, pooling in targets:
            if not -num_levels <= level < num_levels or pooling not in POOLINGS:
                raise ValueError(
                    f'targets={targets}: {(level, pooling)} must be a level of {num_levels} and '
                    f'one of {sorted(POOLINGS)}.'
                )
        levels = {level % num_levels for level, _ in targets}
        if fusion is None and len(levels) < num_levels:
            raise ValueError(
                f'fusion=None reads only the levels of targets={targets}, but there are '
                f'{num_levels}, and the others would not be trained: set backbone.out_indices to '
                'the levels that are read.'
            )
        self.embed_dims = embed_dims
        self.num_levels = num_levels
        self.targets = tuple((level % num_levels, pooling) for level, pooling in targets)
        self.position_extent = position_extent
        self.projectors = ModuleDict(
            {
                str(level): two_layers(channels, hidden, embed_dims, norm_cfg)
                for level, (channels, hidden) in enumerate(
                    zip(in_channels, hidden_channels, strict=True)
                )
            }
        )
        transformer = dict(
            embed_dims=embed_dims,
            depth=depth,
            num_heads=num_heads,
            mlp_ratio=mlp_ratio,
            num_queries=len(targets),
        )
        # Name of each prediction -> weight of its loss.
        self.weights: dict[str, float] = {}
        self.transformers = ModuleDict()
        if fusion == 'per_level':
            for level, weight in enumerate(level_weights):
                self.weights[f'level{level}'] = weight / sum(level_weights)
                self.transformers[f'level{level}'] = DeepMaskingTransformer(**transformer)
        elif fusion is not None:
            self.weights['masked'] = 1.0
            self.transformers['masked'] = DeepMaskingTransformer(**transformer, fusion=fusion)
        if fusion is not None:
            self.norms = ModuleList(nn.LayerNorm(embed_dims) for _ in in_channels)
            self.level_embed = nn.Parameter(torch.zeros(num_levels, embed_dims))
        if fusion is None or global_weight:
            self.weights['global'] = global_weight or 1.0

    def init_weights(self) -> None:
        """Initialise level embeddings by N(0, 0.02²)."""
        super().init_weights()
        if self.transformers:
            nn.init.normal_(self.level_embed, std=0.02)

    def embed(self, level: int, maps: Tensor, visible: Tensor) -> Tensor:
        """(B, C, H, W) and (B, G, K) -> (B, G, K, D) tokens; hidden positions are not read."""
        ids = visible.flatten(1)
        tokens = gather_tokens(maps.flatten(2).mT, ids)
        tokens = self.norms[level](apply_rows(self.projectors[f'{level}'], tokens))
        table = sincos_position_embedding(
            maps.shape[2:], self.embed_dims, device=maps.device, extent=self.position_extent
        )
        tokens = tokens + gather_tokens(table, ids).to(tokens.dtype) + self.level_embed[level]
        return tokens.unflatten(1, visible.shape[1:])

    def forward(
        self, maps: Sequence[Tensor], groups: Sequence[Tensor] | None = None
    ) -> dict[str, Tensor]:
        """L maps (B, C_l, H_l, W_l) and (B, G, K_l) -> (B, G, Q, D) vectors of each prediction.

        Groups are separate sequences of one batch, so they do not see each other.
        """
        vectors = {}
        if self.transformers:
            levels = enumerate(zip(maps, groups, strict=True))
            tokens = [self.embed(level, *pair) for level, pair in levels]
            if 'masked' in self.transformers:
                tokens = [torch.cat(tokens, dim=2)]
            for (name, transformer), part in zip(self.transformers.items(), tokens, strict=True):
                vectors[name] = transformer(part.flatten(0, 1)).unflatten(0, part.shape[:2])
        if 'global' in self.weights:
            vectors['global'] = describe(maps, self.projectors, self.targets).unsqueeze(1)
        return vectors

"""Masking of deep, hierarchical features."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from mmpretrain.models.backbones import ResNet
from torch import Tensor, nn

from mmmask.layers import MomentumCopy
from mmmask.models.building import Derived, build
from mmmask.models.necks.deep_masking import describe
from mmmask.registry import MODELS

from .base import PretrainingModel


class MaskedFeatures(NamedTuple):
    """Masks, predictions and targets of deep masking, for inspection.

    Attributes:
        images: (B, C, H, W) as the network sees them.
        grids: (H_l, W_l) of the maps, finest first.
        groups: (B, G, K_l) visible positions of each level, or None without masking.
        prediction: name -> (B, G, Q, D).
        target: (B, Q, D) embedding of the same images.
    """

    images: Tensor
    grids: tuple[tuple[int, int], ...]
    groups: tuple[Tensor, ...] | None
    prediction: dict[str, Tensor]
    target: Tensor


@MODELS.register_module()
class MaskDeep(PretrainingModel):
    """Liu et al., *Mask Hierarchical Features For Self-Supervised Learning*, arXiv 2304.00218.

    The encoder sees whole images, and its feature maps are masked. From a few visible positions of
    all levels, the model predicts the embeddings that a momentum copy computes for other views of
    the image. Several groups of positions share one pass of the encoder. Without masking, and with
    a neck that reads pooled maps, this is BYOL (Grill et al., NeurIPS 2020).

    Only the abstract of the paper is known. Every default is a choice of this project.

    The neck gets its ``in_channels`` from the backbone or the pyramid. Backbones other than ResNets
    must report ``out_channels``; otherwise the config of the neck states them.

    Args:
        backbone: any encoder that returns feature maps, including that of its last stage.
        neck: config of a :class:`DeepMaskingNeck`.
        head: config of an :class:`EmbeddingPredictionHead`.
        masking: config of a :class:`FeatureGroupMask`; None for BYOL.
        fpn: config of a :class:`FeaturePyramid` between backbone and neck.
        num_views: V, number of views that the online encoder sees; further views are targets only.
        include_self_target: whether a view also predicts its own target.
        momentum: of the targets at the start: 0.99 for 100 to 300 epochs, 0.996 for 1000.
        final_momentum: of the targets at the end, reached along half a cosine.

    Raises:
        ValueError: for less than one view, a backbone that does not return its last stage, from
            which the target is pooled, or masks and a neck with different levels.
    """

    takes_more_views = True

    def __init__(
        self,
        backbone: dict,
        neck: dict,
        head: dict,
        masking: dict | None = None,
        fpn: dict | None = None,
        num_views: int = 2,
        include_self_target: bool = False,
        momentum: float = 0.99,
        final_momentum: float = 1.0,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor, init_cfg)
        if not isinstance(num_views, int) or num_views < 1:
            raise ValueError(f'num_views={num_views} must be an integer of at least 1.')
        self.backbone = MODELS.build(backbone)
        _require_last_stage(self.backbone)
        widths = Derived(_widths(self.backbone), 'the channels of the maps of model.backbone')
        self.fpn = None if fpn is None else build(fpn, in_channels=widths)
        if fpn is not None:
            widths = Derived(self.fpn.out_channels, 'the channels of the maps of model.fpn')
        self.masking = None if masking is None else MODELS.build(masking)
        self.neck = build(neck, in_channels=widths)
        self._require_matching_masks()
        self.head = build(
            head,
            weights=Derived(self.neck.weights, 'the predictions of model.neck'),
            num_queries=Derived(len(self.neck.targets), 'the number of model.neck.targets'),
            in_channels=Derived(self.neck.embed_dims, 'the width of model.neck'),
        )
        self.num_views = num_views
        self.include_self_target = include_self_target
        levels = sorted({str(level) for level, _ in self.neck.targets})
        projectors = nn.ModuleDict({level: self.neck.projectors[level] for level in levels})
        encoder = dict(backbone=self.backbone) | ({} if fpn is None else dict(fpn=self.fpn))
        self.target = MomentumCopy(momentum, final_momentum, projectors=projectors, **encoder)

    def _require_matching_masks(self) -> None:
        if (self.masking is None) != (len(self.neck.transformers) == 0):
            raise ValueError(
                'neck.fusion and masking go together: give both, or set both to None for BYOL.'
            )
        ratios = getattr(self.masking, 'ratios', None)
        if ratios is not None and len(ratios) != self.neck.num_levels:
            raise ValueError(
                f'masking.ratios={ratios} must be {self.neck.num_levels} fractions, '
                'one for each level of the neck.'
            )

    @property
    def min_views(self) -> int:
        """Every online view needs the target of another view, or its own."""
        return max(self.num_views, 1 if self.include_self_target else 2)

    def loss(self, *views: Tensor) -> dict[str, Tensor]:
        """V online views and any number of target views, (B, C, H, W) each -> losses."""
        embeddings = [self.embed(view) for view in views]
        losses = []
        for index, view in enumerate(views[: self.num_views]):
            maps = self.encode(view)  # once, for all groups
            groups = self.draw_groups(maps)
            vectors = self.neck(maps, groups)
            others = embeddings if self.include_self_target else _without(embeddings, index)
            losses.append(self.head(vectors, torch.stack(others, dim=1)))
        return {name: sum(loss[name] for loss in losses) for name in losses[0]}

    def encode(self, images: Tensor) -> Sequence[Tensor]:
        """(B, C, H, W) -> feature maps (B, C_l, H_l, W_l), finest first."""
        maps = self.backbone(images)
        return maps if self.fpn is None else self.fpn(maps)

    def draw_groups(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...] | None:
        """Feature maps (B, C_l, H_l, W_l) -> (B, G, K_l) visible positions of each."""
        if self.masking is None:
            return None
        return self.masking(len(maps[0]), _grids(maps), maps[0].device)

    @torch.no_grad()
    def embed(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, Q, D) targets: pooled and projected by the momentum copy."""
        copy = self.target.module
        maps = copy['backbone'](images)
        if self.fpn is not None:
            maps = copy['fpn'](maps)
        return describe(maps, copy['projectors'], self.neck.targets)

    @torch.no_grad()
    def predict(self, images: Tensor) -> MaskedFeatures:
        """(B, C, H, W) -> groups, predictions and targets of one view."""
        maps = self.encode(images)
        groups = self.draw_groups(maps)
        prediction = self.head.predict(self.neck(maps, groups))
        return MaskedFeatures(images, _grids(maps), groups, prediction, self.embed(images))


def _grids(maps: Sequence[Tensor]) -> tuple[tuple[int, int], ...]:
    return tuple(tuple(level.shape[2:]) for level in maps)


def _without(embeddings: Sequence[Tensor], index: int) -> list[Tensor]:
    return [*embeddings[:index], *embeddings[index + 1 :]]


def _widths(backbone: nn.Module) -> tuple[int, ...] | None:
    """C_l of the returned maps; None if a backbone other than a ResNet does not report them."""
    if isinstance(backbone, ResNet):
        width = backbone.base_channels * backbone.expansion
        return tuple(width * 2**index for index in backbone.out_indices)
    return getattr(backbone, 'out_channels', None)


def _require_last_stage(backbone: nn.Module) -> None:
    num_stages = getattr(backbone, 'num_stages', getattr(backbone, 'num_layers', None))
    indices = getattr(backbone, 'out_indices', None)
    if num_stages and indices is not None and num_stages - 1 not in indices:
        raise ValueError(
            f'backbone.out_indices={tuple(indices)} must end with {num_stages - 1}, the last '
            'stage, from which the target is pooled.'
        )

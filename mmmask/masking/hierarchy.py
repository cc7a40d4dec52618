"""Masks from a hierarchy of patches that the model itself finds (evolved hierarchical masking).

Feng and Zhang, *Evolved Hierarchical Masking for Self-Supervised Learning*, TPAMI 2025. The public
text states three things: the model being trained parses each image by its own attention into one
binary tree over the patches; the epoch selects a depth of that tree; sets of patches at that depth
are masked, from fine to coarse. Everything else here is a choice of this project and not the
paper's formula: the affinity, the linkage, the schedule of depths, and the sampling of nodes. Each
of these is one function and an option.
"""

from math import log2

import torch
import torch.nn.functional as F
from torch import Tensor

from .evolved import EvolvedMask
from .mask import Mask, mask_from_scores, num_visible
from .random import RandomMask
from .tree import AFFINITIES, LINKAGES, affinity, build_tree, cut_tree

__all__ = [
    'EvolvedHierarchyMask',
    'affinity',
    'build_tree',
    'cut_tree',
    'difficulty',
    'explained_variance',
    'mask_nodes',
    'node_sizes',
    'nodes_at',
]


def nodes_at(
    progress: float,
    num_patches: int,
    final_nodes: int | None = 10,
    exponent: float = 0.5,
    start_nodes: int | None = None,
) -> int:
    """Number of nodes K at a point of the training: 2^d, where the depth d decreases as progress^γ.

    The paper states that the depth follows the epoch from fine to coarse. The formula is a choice
    of this project, with the constants 10 and 0.5 of the released code of evolved part masking.

    Args:
        progress: 0 at the start of training, 1 at its end.
        num_patches: N.
        final_nodes: K at the end; None for every patch.
        exponent: γ.
        start_nodes: K at the start; None for every patch, that is random masking.

    Raises:
        ValueError: if the progress is outside [0, 1].
    """
    if not 0 <= progress <= 1:
        raise ValueError(f'progress={progress} must lie in [0, 1].')
    start = min(start_nodes or num_patches, num_patches)
    final = min(final_nodes or num_patches, num_patches)
    depth = log2(start) - (log2(start) - log2(final)) * progress**exponent
    return min(max(round(2**depth), min(start, final)), max(start, final))


def mask_nodes(labels: Tensor, num_keep: int, grid: tuple[int, int] | None = None) -> Mask:
    """(B, N) node labels in 0..2N−2 -> Mask that hides whole nodes, in random order.

    At most one node of an image is hidden partly, at random, so that the number of hidden patches
    is exact. The first random numbers score patches as random masking does: if every node is one
    patch, both masks are equal.
    """
    num_images, num_patches = labels.shape
    score = torch.rand(num_images, num_patches, device=labels.device)
    tie = torch.rand(num_images, num_patches, device=labels.device)
    index = torch.arange(num_patches, device=labels.device).expand_as(labels)
    first = index.new_full((num_images, 2 * num_patches - 1), num_patches)
    first = first.scatter_reduce_(1, labels, index, 'amin').gather(1, labels)
    rank = score.argsort(dim=1, stable=True).argsort(dim=1)
    # Rank of the node, then score of the patch: exact in fp64, so nodes do not interleave.
    return mask_from_scores(rank.gather(1, first) + tie.double(), num_keep, grid)


def node_sizes(labels: Tensor) -> Tensor:
    """(B, N) node labels in 0..2N−2 -> (B, 2N−1) number of patches of each node."""
    sizes = labels.new_zeros(len(labels), 2 * labels.shape[1] - 1)
    return sizes.scatter_add_(1, labels, torch.ones_like(labels))


def difficulty(hidden: Tensor, grid: tuple[int, int]) -> Tensor:
    """(B, N) hidden patches -> (B,) fraction of them without a visible one among 8 neighbours."""
    visible = (~hidden).float().unflatten(1, grid).unsqueeze(1)
    lonely = (F.max_pool2d(visible, 3, stride=1, padding=1) == 0).flatten(1)
    return lonely.sum(dim=1) / hidden.sum(dim=1)


def explained_variance(labels: Tensor, values: Tensor) -> Tensor:
    """(B, N) node labels, (B, N, C) values -> (B,) share of the variance that lies between nodes.

    It is corrected for the number of nodes (adjusted R²): random nodes have 0 on average, whatever
    their number. It is 1 if each node is one patch, or the values are all the same.
    """
    num_patches, index = labels.shape[1], labels.unsqueeze(-1).expand_as(values)
    sizes = node_sizes(labels)
    sums = values.new_zeros(*sizes.shape, values.shape[2]).scatter_add_(1, index, values)
    means = sums / sizes.clamp(min=1).unsqueeze(-1)
    within = (values - means.gather(1, index)).square().sum(dim=(1, 2))
    total = (values - values.mean(dim=1, keepdim=True)).square().sum(dim=(1, 2))
    free = num_patches - (sizes > 0).sum(dim=1)
    return 1 - within * (num_patches - 1) / (total * free).clamp(min=1e-12)


class EvolvedHierarchyMask(EvolvedMask):
    """Hide random nodes of each image's hierarchy, from single patches to large parts.

    The docstring of this module says what is the paper's and what is this project's choice. At the
    start of training every patch is a node. This is random masking and needs no evidence.

    Args:
        ratio: fraction of the patches to hide, in (0, 1).
        final_nodes: number of nodes at the end of training; 6 is better for grids of 7 × 7.
        exponent: γ of :func:`nodes_at`; below 1 the nodes become coarse early.
        start_nodes: number of nodes at the start; None for every patch. The schedule is static if
            it equals ``final_nodes``, and runs from coarse to fine if it is smaller.
        affinity: see :func:`affinity`.
        linkage: see :func:`build_tree`.
        spatial_weight: λ of :func:`affinity`.
        extra_nodes: sample the number of nodes from K..K + this, once for each batch.
        shared: build one tree from the mean affinity and one mask for all images of the local
            batch, for masked Swin encoders. Masks then follow what the images have in common.
    """

    def __init__(
        self,
        ratio: float = 0.75,
        final_nodes: int | None = 10,
        exponent: float = 0.5,
        start_nodes: int | None = None,
        affinity: str = 'profile',
        linkage: str = 'ward',
        spatial_weight: float = 0.0,
        extra_nodes: int = 0,
        shared: bool = False,
    ) -> None:
        super().__init__(ratio)
        if affinity not in AFFINITIES:
            raise ValueError(f'affinity={affinity!r} is not one of {sorted(AFFINITIES)}.')
        if linkage not in LINKAGES:
            raise ValueError(f'linkage={linkage!r} is not one of {LINKAGES}.')
        if affinity == 'attn_sym' and linkage == 'ward':
            raise ValueError(
                "affinity='attn_sym' does not give the Gram matrix that Ward linkage needs: set "
                "linkage='average'."
            )
        if not 0 <= spatial_weight <= 1:
            raise ValueError(f'spatial_weight={spatial_weight} must lie in [0, 1].')
        for name, nodes in (('final_nodes', final_nodes), ('start_nodes', start_nodes)):
            if nodes is not None and nodes < 1:
                raise ValueError(f'{name}={nodes} must be at least 1, or None for every patch.')
        if exponent <= 0 or extra_nodes < 0:
            raise ValueError(
                f'exponent={exponent} must be positive and extra_nodes={extra_nodes} not negative.'
            )
        self.final_nodes = final_nodes
        self.exponent = exponent
        self.start_nodes = start_nodes
        self.affinity = affinity
        self.linkage = linkage
        self.spatial_weight = spatial_weight
        self.extra_nodes = extra_nodes
        self.shared = shared
        self.evidence_kind = AFFINITIES[affinity]

    @property
    def needs_evidence(self) -> bool:
        """False while every patch is a node of its own."""
        return self.start_nodes is not None or self.progress > 0

    def num_nodes(self, num_patches: int) -> int:
        """Number of nodes K at the current progress."""
        return nodes_at(
            self.progress, num_patches, self.final_nodes, self.exponent, self.start_nodes
        )

    @torch.compiler.disable
    def tree(self, evidence: Tensor, grid: tuple[int, int]) -> Tensor:
        """Evidence of B images on an (h, w) grid -> parent (B, or 1 if shared, 2N−1).

        :func:`build_tree` reads on the host whether the trees are complete, so they are built
        outside of a compiled graph.
        """
        weights = affinity(evidence, self.affinity, self.spatial_weight, grid)
        if self.shared:
            weights = weights.mean(dim=0, keepdim=True)
        return build_tree(weights, self.linkage)[0]

    def divide(self, num_images, grid, device='cpu', evidence=None) -> Tensor:
        """B, (h, w), evidence -> labels (B, N): the nodes of the tree at the current depth."""
        num_patches = grid[0] * grid[1]
        num_nodes = self.num_nodes(num_patches)
        if num_nodes >= num_patches:
            return torch.arange(num_patches, device=device).repeat(num_images, 1)
        self.check_evidence(evidence, num_images, num_patches)
        if self.extra_nodes:
            extra = torch.randint(self.extra_nodes + 1, (1,), device=evidence.device)
            num_nodes = (num_nodes + extra).clamp(max=num_patches)
        return cut_tree(self.tree(evidence, grid), num_nodes).expand(num_images, -1)

    def draw(self, labels: Tensor, grid: tuple[int, int]) -> Mask:
        """(B, N) nodes -> Mask of :func:`mask_nodes`; plain random masking for single patches."""
        num_images, num_patches = labels.shape
        num_masks = 1 if self.shared else num_images
        if self.num_nodes(num_patches) >= num_patches:
            mask = RandomMask.forward(self, num_masks, grid, labels.device)
        else:
            mask = mask_nodes(labels[:num_masks], num_visible(num_patches, self.ratio), grid)
        return mask.expand(num_images)

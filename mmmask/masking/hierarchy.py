"""Masks from a hierarchy of patches that the model itself sees (evolved hierarchical masking).

Feng and Zhang, *Evolved Hierarchical Masking for Self-Supervised Learning*, TPAMI 2025. What its
public text establishes: the model being trained parses each image by its own attention into one
binary tree over the patches; the epoch selects a depth of that tree; sets of patches of that depth
are masked, from fine to coarse. Everything else here is a choice of this project, not the
paper's formula, and stays an option: the affinity, the linkage, the schedule of depths, and how
nodes are drawn. Each is one function.
"""

from functools import lru_cache
from math import log2

import torch
import torch.nn.functional as F
from torch import Tensor

from .mask import Mask, mask_from_scores, num_visible
from .random import RandomMask

# What each affinity reads.
AFFINITIES = {'profile': 'attention', 'attn_sym': 'attention', 'feat_cos': 'features'}
LINKAGES = ('ward', 'average')
# How often the tree asks whether it is finished, the only question to the device in a training
# step. Asking every round (it also compacts) would save 0.9 of 2.9 ms an image on one CPU core, but
# stalls an accelerator in every round.
ROUNDS_PER_CHECK = 4
# Stands for minus infinity and survives multiplication by zero.
VOID = -1e30


@torch.no_grad()
def affinity(
    evidence: Tensor,
    kind: str = 'profile',
    spatial_weight: float = 0.0,
    grid: tuple[int, int] | None = None,
    break_ties: bool = True,
) -> Tensor:
    """(B, N, N) attention or (B, N, D) features -> (B, N, N) symmetric affinity, fp32 or fp64.

    A choice of this project (the papers' affinity is not known); the scale of the attention does
    not matter. An image whose affinity is not finite gets a fixed random tree.

    Args:
        evidence: attention between patches, row = query, or features of the patches.
        kind: ``'profile'``: correlation of how patches attend and are attended to, after removing
            what all have in common; it is a Gram matrix, as Ward linkage needs. ``'attn_sym'``:
            symmetrised attention, for average linkage; hubs chain its trees into one big node.
            ``'feat_cos'``: cosine between features centred over the image, a Gram matrix.
        spatial_weight: λ of W ← (1 − λ)·W + λ·exp(−distance²/2σ²) with σ = 2 patches; needs
            ``grid``.
        grid: (h, w), the patch grid.
        break_ties: add a fixed symmetric matrix with entries below 1e-5, without which equal
            affinities would be merged one pair at a time.

    Raises:
        ValueError: for an unknown kind, or evidence of the wrong shape.
    """
    if kind not in AFFINITIES:
        raise ValueError(f'affinity={kind!r} is not one of {sorted(AFFINITIES)}.')
    num_patches = evidence.shape[1]
    if AFFINITIES[kind] == 'attention' and evidence.shape[2] != num_patches:
        raise ValueError(
            f'affinity={kind!r} needs (B, N, N) attention, got {tuple(evidence.shape)}: leave out '
            "the class token, or choose affinity='feat_cos' for features."
        )
    with torch.autocast(evidence.device.type, enabled=False):
        evidence = evidence if evidence.dtype == torch.float64 else evidence.float()
        if kind == 'feat_cos':
            features = F.normalize(evidence - evidence.mean(dim=1, keepdim=True), dim=2)
            weights = features @ features.mT
        else:
            attention = evidence / evidence.sum(dim=2, keepdim=True).clamp(min=1e-12)
            weights = _profile(attention) if kind == 'profile' else attention
        weights = (weights + weights.mT) / 2
        if spatial_weight:
            near = _spatial_prior(grid, weights)
            weights = (1 - spatial_weight) * weights + spatial_weight * near
        # A sum is finite only if all its terms are.
        finite = weights.sum(dim=(1, 2)).isfinite().view(-1, 1, 1)
        weights = weights.nan_to_num(0, 0, 0) * finite
        ties = _tie_break(num_patches, weights.device).to(weights.dtype)
        return weights + (ties if break_ties else ties * ~finite)


def _profile(attention: Tensor) -> Tensor:
    """(B, N, N) rows that sum to 1 -> correlation of attention profiles, diagonal 1."""
    # What every query attends to (a sink) says nothing about how patches group; without it the
    # columns have mean 0.
    centred = attention - attention.mean(dim=1, keepdim=True)
    # The floor is far below the deviations of a random network (1e-4) and above rounding (1e-9).
    sent = F.normalize(centred, dim=2, eps=1e-6)
    received = F.normalize(centred, dim=1, eps=1e-6)
    return (sent @ sent.mT + received.mT @ received) / 2


def _spatial_prior(grid: tuple[int, int] | None, like: Tensor, sigma: float = 2.0) -> Tensor:
    """(h, w) -> (N, N) Gaussian of the distance between patches."""
    if grid is None:
        raise ValueError('spatial_weight needs the patch grid: pass grid=(h, w).')
    rows, columns = (torch.arange(side, device=like.device, dtype=like.dtype) for side in grid)
    position = torch.cartesian_prod(rows, columns)
    squared = (position.unsqueeze(1) - position.unsqueeze(0)).square().sum(dim=-1)
    return torch.exp(-squared / (2 * sigma**2))


@lru_cache(maxsize=8)
def _tie_break(num_patches: int, device: torch.device) -> Tensor:
    """(N, N) symmetric fp32 constants in [0, 1e-5), diagonal 0, from a generator of its own."""
    generator = torch.Generator('cpu').manual_seed(0)
    noise = torch.rand(num_patches, num_patches, generator=generator, device='cpu') * 1e-5
    upper = noise.triu(1)
    return (upper + upper.mT).to(device)


@torch.no_grad()
def build_tree(weights: Tensor, linkage: str = 'ward') -> tuple[Tensor, Tensor]:
    """(B, N, N) affinity -> parent (B, 2N−1), height (B, N−1): one binary tree for each image.

    Leaves are 0..N−1 and the root, its own parent, is 2N−2. Node N+q was made by the merge of rank
    q, ``height[:, q]`` is its similarity (average linkage) or minus its increase of variance
    (Ward), and heights do not increase, so parents come after children. Deterministic; an image's
    tree does not depend on the rest of the batch.

    That the hierarchy is a binary tree over patches is the paper's; merging bottom-up is a choice
    of this project: leaves alone then are random masking, and every number of nodes exists. Both
    linkages are reducible, so all pairs that are each other's nearest neighbour are merged at once
    and the tree is that of merging the best pair N−1 times.

    Args:
        weights: symmetric affinity; a Gram matrix for Ward linkage.
        linkage: ``'ward'`` or ``'average'``.

    Raises:
        ValueError: for an unknown linkage.
    """
    if linkage not in LINKAGES:
        raise ValueError(f'linkage={linkage!r} is not one of {LINKAGES}.')
    weights = weights if weights.dtype == torch.float64 else weights.float()
    num_images, num_patches, device = len(weights), weights.shape[1], weights.device
    ward = linkage == 'ward'

    # The score of merging i and j is gain / pool(size_i, size_j). Gains add up when clusters merge:
    # the sum of affinities for average linkage; for Ward the size-weighted Lance-Williams rule
    # (n_i + n_j + n_k)·s(ij, k) = (n_i + n_k)·s_ik + (n_j + n_k)·s_jk − n_k·s_ij.
    gains = (weights + weights.mT) / 2
    if ward:
        own = gains.diagonal(dim1=1, dim2=2)
        gains = 2 * gains - own.unsqueeze(2) - own.unsqueeze(1)
    pool = torch.add if ward else torch.mul

    # Clusters live in slots; the last slot is void and stands in for slots that fell empty.
    gains = F.pad(gains, (0, 1, 0, 1), value=VOID)
    gains.diagonal(dim1=1, dim2=2).fill_(VOID)
    slot = torch.arange(num_patches + 1, device=device)
    node = slot.expand(num_images, -1)
    alive = (slot < num_patches).expand(num_images, -1)
    size = gains.new_ones(num_images, num_patches + 1)
    ceiling = gains.new_full((num_images, num_patches + 1), torch.inf)
    next_node = torch.full((num_images, 1), num_patches, device=device)
    # One entry more than needed, where slots that do not merge write.
    parent = torch.arange(2 * num_patches, device=device).repeat(num_images, 1)
    height = gains.new_full((num_images, num_patches), -torch.inf)

    for step in range(1, num_patches):  # each round merges at least one pair
        score = gains / pool(size.unsqueeze(2), size.unsqueeze(1))
        best, nearest = score.max(dim=2)
        slot = torch.arange(gains.shape[1], device=device)
        mutual = (nearest.gather(1, nearest) == slot) & (best > VOID / 4)
        stays = mutual & (slot < nearest)

        merged = next_node + stays.cumsum(1) - 1
        next_node = merged[:, -1:] + 1
        # A parent is never more similar than its children, not even by rounding.
        top = torch.minimum(best, torch.minimum(ceiling, ceiling.gather(1, nearest)))
        target = merged.gather(1, torch.minimum(slot, nearest))
        parent.scatter_(1, torch.where(mutual, node, 2 * num_patches - 1), target)
        height.scatter_(1, torch.where(stays, merged - num_patches, num_patches - 1), top)
        node = torch.where(stays, merged, node)
        ceiling = torch.where(stays, top, ceiling)
        alive = alive & ~(mutual & (slot > nearest))

        num_slots = gains.shape[1]
        if step % ROUNDS_PER_CHECK == 0:
            num_slots = 1 + int(alive.sum(dim=1).max())
            if num_slots == 2:
                break
        # The k-th slot that is alive; beyond the last one, the void slot.
        rank = torch.arange(1, num_slots + 1, device=device).repeat(num_images, 1)
        keep = torch.searchsorted(alive.cumsum(1), rank).clamp_(max=gains.shape[1] - 1)
        partner = nearest.gather(1, keep)
        joins = stays.gather(1, keep).to(gains.dtype)
        best = best.gather(1, keep) * joins if ward else None
        old_size, size = size, size.gather(1, keep) + joins * size.gather(1, partner)
        gains = _merge_rows(gains, keep, partner, joins, best, old_size)
        gains = _merge_rows(gains, keep, partner, joins, best, size)
        # Rounding must not make i the nearest of j but not j of i.
        gains = gains.mT.contiguous().add_(gains).mul_(0.5)
        node, ceiling, alive = (values.gather(1, keep) for values in (node, ceiling, alive))

    return _sort_nodes(parent[:, :-1], height[:, :-1])


def _merge_rows(
    gains: Tensor, keep: Tensor, partner: Tensor, joins: Tensor, best: Tensor | None, size: Tensor
) -> Tensor:
    """(B, n, m) gains -> (B, m, k): rows ``keep`` plus, where it joins, the partner's, transposed.

    Rows are copied whole and added, never scattered: fast, and deterministic on every device.
    """
    num_images, num_rows, num_columns = gains.shape
    offset = torch.arange(num_images, device=gains.device).unsqueeze(1) * num_rows
    flat = gains.reshape(-1, num_columns)
    rows = flat.index_select(0, (keep + offset).flatten()).view(num_images, -1, num_columns)
    others = flat.index_select(0, (partner + offset).flatten()).view_as(rows)
    rows.addcmul_(others, joins.unsqueeze(2))
    if best is not None:
        # Not fused: whether a fused product is rounded may depend on the place in the batch.
        rows.sub_(torch.mul(best.unsqueeze(2), size.unsqueeze(1), out=others))
    return rows.mT.contiguous()


def _sort_nodes(parent: Tensor, height: Tensor) -> tuple[Tensor, Tensor]:
    """Number the merges of a tree by descending height, ties in the order they were made."""
    num_patches = height.shape[1] + 1
    height, order = height.sort(dim=1, descending=True, stable=True)
    leaves = torch.arange(num_patches, device=parent.device).expand(len(parent), -1)
    old = torch.cat([leaves, order + num_patches], dim=1)
    new = torch.cat([leaves, order.argsort(dim=1) + num_patches], dim=1)
    return new.gather(1, parent).gather(1, old), height


def cut_tree(parent: Tensor, num_nodes: int | Tensor) -> Tensor:
    """parent (B, 2N−1) -> labels (B, N): the nodes patches belong to when exactly K nodes are left.

    Args:
        parent: trees of :func:`build_tree`.
        num_nodes: K in 1..N, one for all images or (B,) of them.
    """
    num_patches = (parent.shape[1] + 1) // 2
    if isinstance(num_nodes, Tensor):
        num_nodes = num_nodes.unsqueeze(-1)
    # The K coarsest levels are the last K − 1 merges; paths stop below them.
    itself = torch.arange(parent.shape[1], device=parent.device)
    ancestor = torch.where(parent < 2 * num_patches - num_nodes, parent, itself)
    for _ in range((num_patches - 1).bit_length()):
        ancestor = ancestor.gather(1, ancestor)
    return ancestor[:, :num_patches]


def nodes_at(
    progress: float,
    num_patches: int,
    final_nodes: int | None = 10,
    exponent: float = 0.5,
    start_nodes: int | None = None,
) -> int:
    """Number of nodes K at a share of the training: 2^d, with the depth d falling as progress^γ.

    That the depth follows the epoch from fine to coarse is the paper's; the formula is a choice of
    this project, with the constants 10 and 0.5 of the released schedule of evolved part masking.

    Args:
        progress: 0 at the start of training, 1 at its end.
        num_patches: N.
        final_nodes: K at the end; None for every patch.
        exponent: γ.
        start_nodes: K at the start; None for every patch, that is random masking.

    Raises:
        ValueError: if the progress lies outside [0, 1].
    """
    if not 0 <= progress <= 1:
        raise ValueError(f'progress={progress} must lie in [0, 1].')
    start = min(start_nodes or num_patches, num_patches)
    final = min(final_nodes or num_patches, num_patches)
    depth = log2(start) - (log2(start) - log2(final)) * progress**exponent
    return min(max(round(2**depth), min(start, final)), max(start, final))


def mask_nodes(labels: Tensor, num_keep: int) -> Mask:
    """(B, N) node labels in 0..2N−2 -> Mask: nodes are hidden whole, in random order.

    At most one node of an image is hidden in part, at random, so that the count is exact. The
    first draw scores patches as random masking does: with one patch a node, both are the same.
    """
    num_images, num_patches = labels.shape
    score = torch.rand(num_images, num_patches, device=labels.device)
    tie = torch.rand(num_images, num_patches, device=labels.device)
    index = torch.arange(num_patches, device=labels.device).expand_as(labels)
    first = index.new_full((num_images, 2 * num_patches - 1), num_patches)
    first = first.scatter_reduce_(1, labels, index, 'amin').gather(1, labels)
    rank = score.argsort(dim=1, stable=True).argsort(dim=1)
    # The rank of the node, then the draw of the patch: exact in fp64, so nodes do not interleave.
    return mask_from_scores(rank.gather(1, first) + tie.double(), num_keep)


def node_sizes(labels: Tensor) -> Tensor:
    """(B, N) node labels in 0..2N−2 -> (B, 2N−1) patches of each node."""
    sizes = labels.new_zeros(len(labels), 2 * labels.shape[1] - 1)
    return sizes.scatter_add_(1, labels, torch.ones_like(labels))


def difficulty(hidden: Tensor, grid: tuple[int, int]) -> Tensor:
    """(B, N) hidden patches -> (B,) share of them without a visible patch among 8 neighbours."""
    visible = (~hidden).float().unflatten(1, grid).unsqueeze(1)
    lonely = (F.max_pool2d(visible, 3, stride=1, padding=1) == 0).flatten(1)
    return lonely.sum(dim=1) / hidden.sum(dim=1)


class EvolvedMask(RandomMask):
    """What generators share that divide an image by evidence and hide what belongs together.

    Attributes:
        evidence_kind: what the parser must read: ``'attention'``, (B, N, N) summed over layers and
            heads, row = query, no class token; or ``'features'``, (B, N, D).
        progress: share of the training that is over, set by :meth:`set_progress`.
    """

    needs_evidence = True
    evidence_kind = 'attention'

    def __init__(self, ratio: float = 0.75) -> None:
        super().__init__(ratio)
        self.progress = 0.0

    def set_progress(self, progress: float) -> None:
        """Share of the training that is over.

        Raises:
            ValueError: if it lies outside [0, 1].
        """
        if not 0 <= progress <= 1:
            raise ValueError(f'progress={progress} must lie in [0, 1].')
        self.progress = progress

    @torch.no_grad()
    def forward(
        self,
        num_images: int,
        grid: tuple[int, int],
        device: torch.device | str = 'cpu',
        evidence: Tensor | None = None,
    ) -> Mask:
        """B, (h, w), evidence (B, N, N) or (B, N, D) -> Mask of h·w patches.

        Raises:
            ValueError: if the evidence is missing or of the wrong shape.
        """
        return self.draw(self.divide(num_images, grid, device, evidence), grid)

    def divide(
        self,
        num_images: int,
        grid: tuple[int, int],
        device: torch.device | str = 'cpu',
        evidence: Tensor | None = None,
    ) -> Tensor:
        """As :meth:`forward`, but -> labels (B, N) of what belongs together, below 2N − 1."""
        raise NotImplementedError

    def draw(self, labels: Tensor, grid: tuple[int, int]) -> Mask:
        """(B, N) labels -> Mask."""
        raise NotImplementedError

    def check_evidence(self, evidence: Tensor | None, num_images: int, num_patches: int) -> None:
        """Raise ValueError unless the evidence is there and starts with (B, N)."""
        if evidence is None or evidence.shape[:2] != (num_images, num_patches):
            shape = None if evidence is None else tuple(evidence.shape)
            raise ValueError(
                f'{type(self).__name__} needs {self.evidence_kind} of ({num_images}, '
                f'{num_patches}, ...) as evidence, got {shape}: give the algorithm a parser.'
            )


class EvolvedHierarchyMask(EvolvedMask):
    """Hide random nodes of each image's hierarchy, from single patches to large parts.

    See the head of this file for what is the paper's and what is this project's choice. At the
    start of training every patch is a node: random masking, for which no evidence is needed.

    Args:
        ratio: share of the patches to hide, in (0, 1).
        final_nodes: number of nodes at the end of training; 6 is better for grids of 7 × 7.
        exponent: γ of :func:`nodes_at`; below 1 the coarse nodes come early.
        start_nodes: number of nodes at the start; None for every patch. Equal to ``final_nodes``
            the schedule is static; below it, it runs from coarse to fine.
        affinity: see :func:`affinity`.
        linkage: see :func:`build_tree`.
        spatial_weight: λ of :func:`affinity`.
        extra_nodes: draw the number of nodes from K..K + this, once for each batch.
        shared: one tree, of the mean affinity, and one mask for all images of the local batch, as
            masked Swin encoders need them. Masks then follow what the images have in common.
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
                "affinity='attn_sym' is no Gram matrix, which Ward linkage needs: set "
                "linkage='average'."
            )
        if not 0 <= spatial_weight <= 1:
            raise ValueError(f'spatial_weight={spatial_weight} must lie in [0, 1].')
        for name, nodes in (('final_nodes', final_nodes), ('start_nodes', start_nodes)):
            if nodes is not None and nodes < 1:
                raise ValueError(f'{name}={nodes} must be at least 1, or None for every patch.')
        if exponent <= 0 or extra_nodes < 0:
            raise ValueError(
                f'exponent={exponent} must be positive, extra_nodes={extra_nodes} not negative.'
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
        """Number of nodes K at the present progress."""
        return nodes_at(
            self.progress, num_patches, self.final_nodes, self.exponent, self.start_nodes
        )

    def tree(self, evidence: Tensor, grid: tuple[int, int]) -> Tensor:
        """Evidence of B images on an (h, w) grid -> parent (B, or 1 if shared, 2N−1)."""
        weights = affinity(evidence, self.affinity, self.spatial_weight, grid)
        if self.shared:
            weights = weights.mean(dim=0, keepdim=True)
        return build_tree(weights, self.linkage)[0]

    def divide(self, num_images, grid, device='cpu', evidence=None) -> Tensor:
        """B, (h, w), evidence -> labels (B, N): the nodes of the tree at the present depth."""
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
            mask = mask_nodes(labels[:num_masks], num_visible(num_patches, self.ratio))
        return Mask(*(part.expand(num_images, -1) for part in mask[:3])) if self.shared else mask

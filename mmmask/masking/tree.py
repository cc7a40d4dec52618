"""Binary trees over patches: affinity, clustering, cutting.

The public text on evolved hierarchical masking states that the model parses each image into one
binary tree over its patches (see :mod:`mmmask.masking.hierarchy`). The affinity and the linkage are
choices of this project.
"""

from collections import deque
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

# What each affinity reads.
AFFINITIES = {'profile': 'attention', 'attn_sym': 'attention', 'feat_cos': 'features'}
LINKAGES = ('ward', 'average')
# Rounds that are queued on a device before the host reads how many clusters an earlier one left.
# So a GPU is never idle while the host waits.
ROUNDS_AHEAD = dict(cuda=4)
# Represents minus infinity, and stays finite under multiplication by zero.
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

    This is a choice of this project; the papers' affinity is not known. The scale of the attention
    does not matter. An image whose affinity is not finite gets a fixed random tree.

    Args:
        evidence: attention between patches, row = query, or features of the patches.
        kind: ``'profile'``: correlation of how patches attend and are attended to, after the mean
            over all patches is removed. It is a Gram matrix, as Ward linkage needs it.
            ``'attn_sym'``: symmetrised attention, for average linkage; hubs tend to chain its nodes
            into one large node. ``'feat_cos'``: cosine between features centred over the image,
            also a Gram matrix.
        spatial_weight: λ of W ← (1 − λ)·W + λ·exp(−distance²/2σ²) with σ = 2 patches; needs
            ``grid``.
        grid: (h, w), the patch grid.
        break_ties: add a fixed symmetric matrix with entries below 1e-5. Without it, equal
            affinities are merged one pair at a time.

    Raises:
        ValueError: for an unknown kind, or evidence of the wrong shape.
    """
    if kind not in AFFINITIES:
        raise ValueError(f'affinity={kind!r} is not one of {sorted(AFFINITIES)}.')
    num_patches = evidence.shape[1]
    if AFFINITIES[kind] == 'attention' and evidence.shape[2] != num_patches:
        raise ValueError(
            f'affinity={kind!r} needs (B, N, N) attention but got {tuple(evidence.shape)}: leave '
            "out the class token, or choose affinity='feat_cos' for features."
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
    # What every query attends to (a sink) does not say how patches group. Without it the columns
    # have mean 0.
    centred = attention - attention.mean(dim=1, keepdim=True)
    # eps is far below the deviations of a random network (1e-4) and above rounding errors (1e-9).
    sent = F.normalize(centred, dim=2, eps=1e-6)
    received = F.normalize(centred, dim=1, eps=1e-6)
    return (sent @ sent.mT + received.mT @ received) / 2


def _spatial_prior(grid: tuple[int, int] | None, like: Tensor) -> Tensor:
    """(h, w) -> (N, N) Gaussian of the distance between patches, with σ = 2 patches."""
    if grid is None:
        raise ValueError('spatial_weight needs the patch grid: pass grid=(h, w).')
    rows, columns = (torch.arange(side, device=like.device, dtype=like.dtype) for side in grid)
    position = torch.cartesian_prod(rows, columns)
    squared = (position.unsqueeze(1) - position.unsqueeze(0)).square().sum(dim=-1)
    return torch.exp(-squared / 8)


@lru_cache(maxsize=8)
def _tie_break(num_patches: int, device: torch.device) -> Tensor:
    """(N, N) symmetric fp32 constants in [0, 1e-5), diagonal 0, independent of the global seed."""
    generator = torch.Generator('cpu').manual_seed(0)
    noise = torch.rand(num_patches, num_patches, generator=generator, device='cpu') * 1e-5
    upper = noise.triu(1)
    return (upper + upper.mT).to(device)


@torch.no_grad()
def build_tree(weights: Tensor, linkage: str = 'ward') -> tuple[Tensor, Tensor]:
    """(B, N, N) affinity -> parent (B, 2N−1), height (B, N−1): one binary tree for each image.

    Leaves are 0..N−1. The root is 2N−2 and its own parent. Node N+q results from the merge of rank
    q, and ``height[:, q]`` is its similarity (average linkage) or minus its increase of variance
    (Ward). Heights do not increase, so parents come after their children. The result is
    deterministic, and the tree of an image does not depend on the rest of the batch.

    The paper states that the hierarchy is a binary tree over patches. Merging bottom-up is a choice
    of this project: the leaves alone are random masking, and every number of nodes exists. Both
    linkages are reducible. Therefore all pairs of mutual nearest neighbours are merged at once, and
    the tree is the same as if the best pair were merged N−1 times.

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

    # Clusters are kept in slots. The last slot is void and replaces slots that became empty.
    gains = F.pad(gains, (0, 1, 0, 1), value=VOID)
    gains.diagonal(dim1=1, dim2=2).fill_(VOID)
    slot = torch.arange(num_patches + 1, device=device)
    node = slot.expand(num_images, -1)
    alive = (slot < num_patches).expand(num_images, -1)
    size = gains.new_ones(num_images, num_patches + 1)
    ceiling = gains.new_full((num_images, num_patches + 1), torch.inf)
    next_node = torch.full((num_images, 1), num_patches, device=device)
    # One extra entry, into which slots that do not merge write.
    parent = torch.arange(2 * num_patches, device=device).repeat(num_images, 1)
    height = gains.new_full((num_images, num_patches), -torch.inf)

    counts = deque()  # of the clusters that the last rounds left, in the image with most of them
    for _ in range(1, num_patches):  # each round merges at least one pair
        score = gains / pool(size.unsqueeze(2), size.unsqueeze(1))
        best, nearest = score.max(dim=2)
        slot = torch.arange(gains.shape[1], device=device)
        mutual = (nearest.gather(1, nearest) == slot) & (best > VOID / 4)
        stays = mutual & (slot < nearest)

        merged = next_node + stays.cumsum(1) - 1
        next_node = merged[:, -1:] + 1
        # A parent is never more similar than its children, not even by a rounding error.
        top = torch.minimum(best, torch.minimum(ceiling, ceiling.gather(1, nearest)))
        target = merged.gather(1, torch.minimum(slot, nearest))
        parent.scatter_(1, torch.where(mutual, node, 2 * num_patches - 1), target)
        height.scatter_(1, torch.where(stays, merged - num_patches, num_patches - 1), top)
        node = torch.where(stays, merged, node)
        ceiling = torch.where(stays, top, ceiling)
        alive = alive & ~(mutual & (slot > nearest))

        # Numbers only fall, so that an earlier one is enough to keep every cluster.
        num_slots = gains.shape[1]
        counts.append(_to_host(alive.sum(dim=1).max()))
        if len(counts) > ROUNDS_AHEAD.get(device.type, 0):
            num_slots = 1 + _read(*counts.popleft())
            if num_slots == 2:
                break
        # The k-th slot that is alive; after the last one, the void slot.
        rank = torch.arange(1, num_slots + 1, device=device).repeat(num_images, 1)
        keep = torch.searchsorted(alive.cumsum(1), rank).clamp_(max=gains.shape[1] - 1)
        partner = nearest.gather(1, keep)
        joins = stays.gather(1, keep).to(gains.dtype)
        best = best.gather(1, keep) * joins if ward else None
        old_size, size = size, size.gather(1, keep) + joins * size.gather(1, partner)
        gains = _merge_rows(gains, keep, partner, joins, best, old_size)
        gains = _merge_rows(gains, keep, partner, joins, best, size)
        # Rounding must not make i the nearest of j without j being the nearest of i.
        gains = gains.mT.contiguous().add_(gains).mul_(0.5)
        node, ceiling, alive = (values.gather(1, keep) for values in (node, ceiling, alive))

    return _sort_nodes(parent[:, :-1], height[:, :-1])


def _to_host(number: Tensor) -> tuple[Tensor, torch.cuda.Event | None]:
    """Scalar -> a copy on the host, and on CUDA the event after which it is complete."""
    if number.device.type != 'cuda':
        return number.cpu(), None
    copy = torch.empty_like(number, device='cpu', pin_memory=True)
    copy.copy_(number, non_blocking=True)
    event = torch.cuda.Event()
    event.record()
    return copy, event


def _read(copy: Tensor, event: torch.cuda.Event | None) -> int:
    """The number of :func:`_to_host`."""
    if event is not None:
        event.synchronize()
    return int(copy.numpy())


def _merge_rows(
    gains: Tensor, keep: Tensor, partner: Tensor, joins: Tensor, best: Tensor | None, size: Tensor
) -> Tensor:
    """(B, n, m) gains -> (B, m, k): rows ``keep``, plus the partner's where they join, transposed.

    Whole rows are copied and added, not scattered: this is fast and deterministic on every device.
    """
    num_images, num_rows, num_columns = gains.shape
    offset = torch.arange(num_images, device=gains.device).unsqueeze(1) * num_rows
    flat = gains.reshape(-1, num_columns)
    rows = flat.index_select(0, (keep + offset).flatten()).view(num_images, -1, num_columns)
    others = flat.index_select(0, (partner + offset).flatten()).view_as(rows)
    rows.addcmul_(others, joins.unsqueeze(2))
    if best is not None:
        # Not fused: the rounding of a fused product may depend on the position in the batch.
        rows.sub_(torch.mul(best.unsqueeze(2), size.unsqueeze(1), out=others))
    return rows.mT.contiguous()


def _sort_nodes(parent: Tensor, height: Tensor) -> tuple[Tensor, Tensor]:
    """Number the merges of a tree by descending height; ties keep the order of merging."""
    num_patches = height.shape[1] + 1
    height, order = height.sort(dim=1, descending=True, stable=True)
    leaves = torch.arange(num_patches, device=parent.device).expand(len(parent), -1)
    old = torch.cat([leaves, order + num_patches], dim=1)
    new = torch.cat([leaves, order.argsort(dim=1) + num_patches], dim=1)
    return new.gather(1, parent).gather(1, old), height


def cut_tree(parent: Tensor, num_nodes: int | Tensor) -> Tensor:
    """parent (B, 2N−1) -> labels (B, N): the node of each patch when exactly K nodes are left.

    Args:
        parent: trees of :func:`build_tree`.
        num_nodes: K in 1..N, one for all images or (B,) of them.
    """
    num_patches = (parent.shape[1] + 1) // 2
    if isinstance(num_nodes, Tensor):
        num_nodes = num_nodes.unsqueeze(-1)
    # Undo the last K − 1 merges: paths to the root stop below them.
    itself = torch.arange(parent.shape[1], device=parent.device)
    ancestor = torch.where(parent < 2 * num_patches - num_nodes, parent, itself)
    for _ in range((num_patches - 1).bit_length()):
        ancestor = ancestor.gather(1, ancestor)
    return ancestor[:, :num_patches]

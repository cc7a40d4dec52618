"""Trees against SciPy and by hand, and properties of the masks sampled from them."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster import hierarchy as scipy_hierarchy
from scipy.spatial.distance import squareform

from mmmask.masking import EvolvedHierarchyMask, RandomMask, tree
from mmmask.masking.hierarchy import (
    affinity,
    build_tree,
    cut_tree,
    difficulty,
    explained_variance,
    mask_nodes,
    node_sizes,
    nodes_at,
)
from mmmask.masking.tree import AFFINITIES, LINKAGES

COUNTS_14X14 = {0: 196, 0.01: 146, 0.05: 101, 0.1: 76, 0.25: 44, 0.5: 24, 0.75: 15, 1: 10}
COUNTS_14X14_LINEAR = {0: 196, 0.01: 190, 0.05: 169, 0.1: 146, 0.25: 93, 0.5: 44, 0.75: 21, 1: 10}


def vectors(num_images, num_patches, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(num_images, num_patches, 5, generator=generator, dtype=torch.float64)
    return F.normalize(points, dim=2).to(dtype)


def gram(*args, **kwargs):
    points = vectors(*args, **kwargs)
    return points @ points.mT


def random_attention(num_images, num_patches, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(num_images, num_patches, num_patches, generator=generator).softmax(2)


def first_member(labels):
    """(N,) labels -> (N,) index of the first patch with the same label: equal for equal parts."""
    labels = np.asarray(labels)
    return (labels[:, None] == labels[None]).argmax(axis=1)


def generator_at(progress, **kwargs):
    masking = EvolvedHierarchyMask(**kwargs)
    masking.set_progress(progress)
    return masking


def test_symmetrised_attention_by_hand():
    attention = torch.tensor([[[2.0, 2.0], [1.0, 3.0]]])
    expected = torch.tensor([[[0.5, 0.375], [0.375, 0.75]]])
    torch.testing.assert_close(affinity(attention, 'attn_sym', break_ties=False), expected)


def test_profile_affinity_equals_a_numpy_reference():
    attention = random_attention(1, 9).double()
    weights = affinity(attention, 'profile', break_ties=False)[0].numpy()
    matrix = attention[0].numpy()
    matrix = matrix / matrix.sum(1, keepdims=True)
    matrix = matrix - matrix.mean(0)
    expected = np.zeros((9, 9))
    for i in range(9):
        for j in range(9):
            for one, other in ((matrix[i], matrix[j]), (matrix[:, i], matrix[:, j])):
                cosine = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
                expected[i, j] += cosine / 2
    np.testing.assert_allclose(weights, expected, atol=1e-12)
    np.testing.assert_allclose(np.diag(weights), 1)
    assert np.linalg.eigvalsh(weights).min() > -1e-12  # a Gram matrix


def test_feature_affinity_is_the_cosine_after_centring():
    features = torch.tensor([[[1.0, 0.0], [3.0, 0.0], [2.0, 4.0], [2.0, -4.0]]])  # mean (2, 0)
    expected = torch.tensor([[1.0, -1, 0, 0], [-1, 1, 0, 0], [0, 0, 1, -1], [0, 0, -1, 1]])
    torch.testing.assert_close(affinity(features, 'feat_cos', break_ties=False)[0], expected)


def test_spatial_prior_by_hand():
    features = vectors(1, 6, dtype=torch.float32)
    weights = affinity(features, 'feat_cos', 1.0, (2, 3), break_ties=False)[0]
    distances = torch.tensor([0.0, 1, 4, 1, 2, 5])  # squared, from patch 0 of 2 x 3
    torch.testing.assert_close(weights[0], torch.exp(-distances / 8))
    half = affinity(features, 'feat_cos', 0.5, (2, 3), break_ties=False)[0]
    alone = affinity(features, 'feat_cos', break_ties=False)[0]
    torch.testing.assert_close(half, (weights + alone) / 2)


def test_the_scale_of_the_attention_does_not_matter():
    attention = random_attention(2, 16)
    for kind in ('profile', 'attn_sym'):
        torch.testing.assert_close(affinity(64 * attention, kind), affinity(attention, kind))


def test_tie_break_is_small_symmetric_and_constant():
    features = torch.zeros(3, 16, 4)
    ties = affinity(features, 'feat_cos')
    assert ties.min() == 0 and 0.9e-5 < ties.max() < 1e-5
    assert torch.equal(ties, ties.mT) and ties.diagonal(dim1=1, dim2=2).count_nonzero() == 0
    torch.manual_seed(7)
    assert torch.equal(ties, affinity(features, 'feat_cos'))
    assert ties[0].unique().numel() == 16 * 15 // 2 + 1


def test_an_image_that_is_not_finite_gets_the_fixed_random_tree_and_does_not_affect_others():
    attention = random_attention(4, 16)
    clean = affinity(attention)
    attention[1, 3, 5], attention[2, 0] = torch.nan, torch.inf
    weights = affinity(attention)
    ties = affinity(torch.zeros(1, 16, 4), 'feat_cos')[0]
    assert torch.equal(weights[1], ties) and torch.equal(weights[2], ties)
    assert torch.equal(weights[0], clean[0]) and torch.equal(weights[3], clean[3])


def test_affinity_is_full_precision_under_autocast_and_has_no_gradient():
    attention = random_attention(2, 16).requires_grad_()
    with torch.autocast('cpu', torch.bfloat16):
        weights = affinity(attention)
    assert weights.dtype == torch.float32 and not weights.requires_grad
    assert torch.equal(weights, affinity(attention))


def test_affinity_names_what_is_wrong():
    with pytest.raises(ValueError, match="affinity='cosine'.*feat_cos"):
        affinity(random_attention(1, 4), 'cosine')
    with pytest.raises(ValueError, match='class token'):
        affinity(torch.zeros(1, 4, 5), 'profile')
    with pytest.raises(ValueError, match='grid='):
        affinity(random_attention(1, 4), 'profile', spatial_weight=0.1)


def test_tree_by_hand():
    points = torch.tensor([[[0.0], [4.0], [6.0], [1.0]]])  # pairs (0, 3) and (1, 2), then all
    parent, height = build_tree(points @ points.mT, 'ward')
    assert parent.tolist() == [[4, 5, 5, 4, 6, 6, 6]]
    # n_i n_j / (n_i + n_j) times the squared distance of the centres 0.5 and 5
    torch.testing.assert_close(height, torch.tensor([[-0.5, -2.0, -20.25]]))
    assert cut_tree(parent, 3).tolist() == [[4, 1, 2, 4]]
    assert cut_tree(parent, 2).tolist() == [[4, 5, 5, 4]]

    similar = torch.tensor([[[1.0, 0.2, 0.3, 0.9], [0.2, 1, 0.6, 0.1], [0.3, 0.6, 1, 0.4],
                             [0.9, 0.1, 0.4, 1]]])  # fmt: skip
    parent, height = build_tree(similar, 'average')
    assert parent.tolist() == [[4, 5, 5, 4, 6, 6, 6]]
    torch.testing.assert_close(height, torch.tensor([[0.9, 0.6, 0.25]]))


@pytest.mark.parametrize('num_patches', [3, 17, 64, 196])
@pytest.mark.parametrize('linkage', LINKAGES)
def test_tree_equals_scipy(linkage, num_patches):
    points = vectors(3, num_patches, seed=num_patches)
    weights = points @ points.mT
    parent, height = build_tree(weights, linkage)
    for image in range(3):
        if linkage == 'ward':
            merges = scipy_hierarchy.linkage(points[image].numpy(), 'ward')
            expected = -(merges[:, 2] ** 2) / 2
        else:
            distance = squareform(1 - weights[image].numpy(), checks=False)
            merges = scipy_hierarchy.linkage(distance, 'average')
            expected = 1 - merges[:, 2]
        np.testing.assert_allclose(height[image].numpy(), expected, atol=1e-10)
        for num_nodes in {1, 2, 3, num_patches // 4, num_patches // 2, num_patches - 1} - {0}:
            theirs = scipy_hierarchy.cut_tree(merges, num_nodes)[:, 0]
            ours = cut_tree(parent[image : image + 1], num_nodes)[0]
            np.testing.assert_array_equal(first_member(ours), first_member(theirs))


def check_tree(parent, height):
    """Assert what every tree satisfies: the node counts, the order, and the nesting of cuts."""
    num_images, num_patches = len(parent), height.shape[1] + 1
    nodes = torch.arange(2 * num_patches - 1)
    assert parent.shape == (num_images, 2 * num_patches - 1)
    assert (parent[:, :-1] > nodes[:-1]).all() and (parent[:, -1] == nodes[-1]).all()
    assert (height.diff(dim=1) <= 0).all() and height.isfinite().all()
    children = torch.zeros_like(parent).scatter_add_(
        1, parent[:, :-1], torch.ones_like(parent[:, :-1])
    )
    assert (children[:, :num_patches] == 0).all() and (children[:, num_patches:] == 2).all()
    finer = cut_tree(parent, num_patches)
    assert (finer == nodes[:num_patches]).all()
    for num_nodes in range(num_patches - 1, 0, -1):
        coarser = cut_tree(parent, num_nodes)
        for image in range(num_images):
            assert coarser[image].unique().numel() == num_nodes
            # Each node of the finer cut is inside one node of the coarser cut: equally many pairs.
            pairs = torch.stack([finer[image], coarser[image]]).unique(dim=1)
            assert pairs.shape[1] == num_nodes + 1
        finer = coarser
    assert (finer == 2 * num_patches - 2).all()


@settings(max_examples=40, deadline=None)
@given(
    num_patches=st.integers(2, 24),
    linkage=st.sampled_from(LINKAGES),
    levels=st.sampled_from([1, 2, 3, 1000]),
    seed=st.integers(0, 2**31),
)
def test_tree_invariants(num_patches, linkage, levels, seed):
    """Few levels give many exact ties; with one level all affinities are equal."""
    generator = torch.Generator().manual_seed(seed)
    points = torch.randint(levels, (3, num_patches, 3), generator=generator).float()
    check_tree(*build_tree(points @ points.mT, linkage))


def test_tree_invariants_at_full_size():
    check_tree(*build_tree(affinity(random_attention(1, 196)), 'ward'))


def test_a_chain_of_nodes_needs_one_round_per_merge_and_is_correct():
    """With affinities that decrease along a line, only one pair merges in each round."""
    index = torch.arange(20.0)
    weights = -torch.maximum(index[:, None], index[None]).unsqueeze(0)
    parent, _ = build_tree(weights, 'average')
    check_tree(parent, build_tree(weights, 'average')[1])
    assert cut_tree(parent, 5)[0].tolist() == [34] * 16 + [16, 17, 18, 19]


def test_cut_takes_one_number_for_each_image():
    parent, _ = build_tree(gram(3, 20))
    several = cut_tree(parent, torch.tensor([1, 7, 20]))
    for image, num_nodes in enumerate((1, 7, 20)):
        assert torch.equal(several[image], cut_tree(parent, num_nodes)[image])


@pytest.mark.parametrize('linkage', LINKAGES)
def test_planted_blocks_are_recovered(linkage):
    generator = torch.Generator().manual_seed(0)
    block = torch.randperm(80, generator=generator) % 10
    planted = (block[:, None] == block[None]).float()
    noise = 0.3 * torch.rand(2, 80, 80, generator=generator)
    parent, _ = build_tree(planted + noise, linkage)
    for labels in cut_tree(parent, 10):
        np.testing.assert_array_equal(first_member(labels), first_member(block))


@pytest.mark.parametrize('linkage', LINKAGES)
@pytest.mark.parametrize('num_patches', [49, 64])
def test_images_do_not_influence_each_other(linkage, num_patches):
    """Bitwise equality for images that need few and many rounds, alone and together."""
    weights = gram(6, num_patches, dtype=torch.float32)
    weights[2] = 0
    weights[4] = affinity(torch.zeros(1, num_patches, 2), 'feat_cos')[0]
    parent, height = build_tree(weights, linkage)
    for image in range(6):
        alone = build_tree(weights[image : image + 1], linkage)
        assert torch.equal(alone[0][0], parent[image]) and torch.equal(alone[1][0], height[image])


@pytest.mark.parametrize('kind', sorted(AFFINITIES))
def test_permuted_patches_give_the_permuted_partition(kind):
    attention = random_attention(1, 25).double()
    order = torch.randperm(25, generator=torch.Generator().manual_seed(3))
    shuffled = attention[:, order] if kind == 'feat_cos' else attention[:, order][:, :, order]
    linkage = 'average' if kind == 'attn_sym' else 'ward'
    trees = [
        build_tree(affinity(evidence, kind, break_ties=False), linkage)[0]
        for evidence in (attention, shuffled)
    ]
    for num_nodes in (2, 5, 12, 24):
        labels, permuted = (cut_tree(tree, num_nodes)[0] for tree in trees)
        np.testing.assert_array_equal(first_member(labels[order]), first_member(permuted))


def test_the_tree_neither_reads_nor_changes_the_random_state():
    evidence = random_attention(2, 36)
    masking = generator_at(0.5)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = masking.tree(evidence, (6, 6))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert torch.equal(masking.tree(evidence, (6, 6)), first)


def test_half_precision_evidence_is_clustered_in_full_precision():
    weights = gram(2, 16).half()
    assert build_tree(weights)[1].dtype == torch.float32
    assert torch.equal(build_tree(weights)[0], build_tree(weights.float())[0])


def test_unknown_linkage_is_named():
    with pytest.raises(ValueError, match="linkage='single'.*average"):
        build_tree(gram(1, 4), 'single')


def test_number_of_nodes_against_the_table():
    for progress, nodes in COUNTS_14X14.items():
        assert nodes_at(progress, 196) == nodes
    for progress, nodes in COUNTS_14X14_LINEAR.items():
        assert nodes_at(progress, 196, exponent=1) == nodes


@pytest.mark.parametrize('epochs', [1, 2, 300])
def test_number_of_nodes_never_grows(epochs):
    counts = [nodes_at(epoch / max(epochs - 1, 1), 196) for epoch in range(epochs)]
    assert counts[0] == 196 and counts == sorted(counts, reverse=True)
    assert epochs == 1 or counts[-1] == 10


def test_other_schedules():
    steps = (0, 0.3, 1)
    assert [nodes_at(step, 196, 44, start_nodes=44) for step in steps] == [44, 44, 44]
    reverse = [nodes_at(step, 196, None, start_nodes=10) for step in steps]
    assert reverse == [10, round(10 * 19.6**0.3**0.5), 196]
    assert nodes_at(1, 4, final_nodes=10) == 4
    with pytest.raises(ValueError, match=r'progress=1.5.*\[0, 1\]'):
        nodes_at(1.5, 196)


def test_all_hidden_nodes_but_one_are_hidden_whole():
    torch.manual_seed(0)
    parent, _ = build_tree(gram(8, 64))
    for num_nodes in range(1, 65):
        labels = cut_tree(parent, num_nodes)
        mask = mask_nodes(labels, 16)
        assert (mask.hidden.sum(1) == 48).all()
        for node, hidden in zip(labels, mask.hidden, strict=True):
            split = set(node[hidden].tolist()) & set(node[~hidden].tolist())
            assert len(split) <= (num_nodes < 64)


def test_nodes_come_in_random_order_and_the_split_one_is_split_at_random():
    labels = torch.tensor([[4, 4, 5, 5]]).expand(4000, 4)
    torch.manual_seed(0)
    hidden = mask_nodes(labels, 1).hidden.float().mean(0)
    # One of four patches is visible, each equally often: nodes and patches are sampled evenly.
    torch.testing.assert_close(hidden, torch.full((4,), 0.75), atol=0.03, rtol=0)


def test_nodes_of_one_patch_give_random_masking_bit_for_bit():
    torch.manual_seed(3)
    expected = RandomMask(0.75)(5, (8, 8))
    torch.manual_seed(3)
    mask = mask_nodes(torch.arange(64).repeat(5, 1), 16)
    for ours, theirs in zip(mask[:3], expected[:3], strict=True):
        assert torch.equal(ours, theirs)


def test_at_the_start_of_training_masks_are_random_masks_and_need_no_evidence():
    masking = EvolvedHierarchyMask()
    assert not masking.needs_evidence
    torch.manual_seed(3)
    expected = RandomMask(0.75)(5, (14, 14))
    torch.manual_seed(3)
    for ours, theirs in zip(masking(5, (14, 14))[:3], expected[:3], strict=True):
        assert torch.equal(ours, theirs)
    masking.set_progress(0.1)
    assert masking.needs_evidence
    assert EvolvedHierarchyMask(start_nodes=44).needs_evidence


def degenerate(kind):
    attention = random_attention(3, 196)
    attention[1] = {'constant': 1 / 196, 'zero': 0.0, 'nan': torch.nan}[kind]
    return attention


@pytest.mark.parametrize('progress', [0.01, 0.5, 1])
@pytest.mark.parametrize('affinity_kind', sorted(AFFINITIES))
@pytest.mark.parametrize('kind', ['constant', 'zero', 'nan'])
def test_degenerate_evidence_gives_exact_counts(kind, affinity_kind, progress):
    linkage = 'average' if affinity_kind == 'attn_sym' else 'ward'
    masking = generator_at(progress, affinity=affinity_kind, linkage=linkage)
    mask = masking(3, (14, 14), 'cpu', degenerate(kind))
    assert (mask.hidden.sum(1) == 147).all() and mask.ids_keep.shape == (3, 49)
    everything = mask.ids_restore.argsort(1)
    assert torch.equal(everything[:, :49], mask.ids_keep)
    assert torch.equal(everything.sort(1).values, torch.arange(196).expand(3, -1))
    assert not mask.hidden.gather(1, mask.ids_keep).any()


@pytest.mark.parametrize('grid', [(3, 5), (10, 10), (12, 8), (14, 14)])
def test_counts_on_other_grids(grid):
    num_patches = grid[0] * grid[1]
    evidence = random_attention(2, num_patches)
    for progress in (0.2, 1):
        mask = generator_at(progress, ratio=0.6, spatial_weight=0.3)(2, grid, 'cpu', evidence)
        assert (mask.ids_keep.shape[1], mask.hidden.shape[1]) == (num_patches * 2 // 5, num_patches)
        assert (mask.hidden.sum(1) == num_patches - num_patches * 2 // 5).all()


def test_same_seed_same_mask_and_new_masks_otherwise():
    evidence = random_attention(4, 36)
    masking = generator_at(0.7)
    torch.manual_seed(5)
    first, second = (masking(4, (6, 6), 'cpu', evidence) for _ in range(2))
    torch.manual_seed(5)
    again = masking(4, (6, 6), 'cpu', evidence)
    assert all(torch.equal(one, other) for one, other in zip(first[:3], again[:3], strict=True))
    assert not torch.equal(first.hidden, second.hidden)


def test_extra_nodes_stay_in_range():
    evidence = random_attention(1, 36)
    masking = generator_at(1, final_nodes=3, extra_nodes=2)
    cuts = []

    def record(labels, *args):
        cuts.append(labels.unique().numel())
        return mask_nodes(labels, *args)

    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('mmmask.masking.hierarchy.mask_nodes', record)
        for _ in range(40):
            masking(1, (6, 6), 'cpu', evidence)
    assert set(cuts) == {3, 4, 5}


def test_every_patch_is_hidden_as_often_as_the_ratio():
    torch.manual_seed(0)
    frequency = EvolvedHierarchyMask(0.75)(20_000, (4, 4)).hidden.float().mean(0)
    torch.testing.assert_close(frequency, torch.full((16,), 0.75), atol=0.01, rtol=0)


def test_masks_of_a_structured_image_grow_harder():
    """A smooth field of features has parts; larger parts leave more patches without neighbours."""
    generator = torch.Generator().manual_seed(0)
    field = F.interpolate(torch.randn(8, 16, 4, 4, generator=generator), (14, 14), mode='bicubic')
    evidence = field.flatten(2).mT
    torch.manual_seed(0)
    values = []
    for progress in (0, 0.25, 0.5, 1):
        masking = generator_at(progress, affinity='feat_cos')
        hidden = torch.cat([masking(8, (14, 14), 'cpu', evidence).hidden for _ in range(20)])
        values.append(difficulty(hidden, (14, 14)).mean().item())
    assert values == sorted(values)
    assert abs(values[0] - 0.13) < 0.01 and values[-1] > 0.3


def test_explained_variance_by_hand():
    values = torch.tensor([[0.0, 0, 2, 2], [0, 0, 2, 2], [0, 1, 2, 3], [5, 5, 5, 5]]).unsqueeze(-1)
    labels = torch.tensor([[0, 0, 6, 6], [1, 2, 1, 2], [4, 4, 4, 3], [0, 0, 1, 1]])
    # The third: 2 of 5 within the nodes, of 2 and 3 degrees of freedom.
    torch.testing.assert_close(
        explained_variance(labels, values), torch.tensor([1.0, -0.5, 1 - (2 / 2) / (5 / 3), 1.0])
    )
    assert explained_variance(torch.arange(4).expand(4, 4), values).tolist() == [1.0] * 4
    random = torch.rand(500, 16, 3), torch.randint(5, (500, 16))
    assert abs(explained_variance(random[1], random[0]).mean()) < 0.02


def test_difficulty_and_node_sizes_by_hand():
    hidden = torch.ones(2, 12, dtype=torch.bool)
    hidden[0, 0] = False  # corner of 3 x 4: three of the 11 hidden patches touch it
    hidden[1, 5] = False  # eight of 11 touch it
    torch.testing.assert_close(difficulty(hidden, (3, 4)), torch.tensor([8 / 11, 3 / 11]))
    labels = torch.tensor([[6, 6, 6, 3], [4, 4, 5, 5]])
    assert node_sizes(labels).tolist() == [[0, 0, 0, 1, 0, 0, 3], [0, 0, 0, 0, 2, 2, 0]]


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(ratio=1.0), 'ratio=1.0'),
        (dict(affinity='cosine'), "affinity='cosine'"),
        (dict(linkage='single'), "linkage='single'"),
        (dict(affinity='attn_sym'), "linkage='average'"),
        (dict(final_nodes=0), 'final_nodes=0'),
        (dict(start_nodes=-1), 'start_nodes=-1'),
        (dict(spatial_weight=2.0), 'spatial_weight=2.0'),
        (dict(exponent=0.0), 'exponent=0.0'),
    ],
)
def test_wrong_options_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        EvolvedHierarchyMask(**arguments)


def test_missing_or_wrong_evidence_is_named():
    masking = generator_at(0.5)
    with pytest.raises(ValueError, match='needs attention of .2, 36.*got None.*parser'):
        masking(2, (6, 6))
    with pytest.raises(ValueError, match=r'got \(2, 37, 37\)'):
        masking(2, (6, 6), 'cpu', random_attention(2, 37))
    with pytest.raises(ValueError, match='progress=-0.1'):
        masking.set_progress(-0.1)


def test_nothing_enters_the_state_dict():
    masking = generator_at(0.5)
    masking(1, (6, 6), 'cpu', random_attention(1, 36))
    assert not masking.state_dict() and not list(masking.parameters())


@pytest.mark.parametrize('progress', [0, 0.5, 1])
def test_a_shared_mask_is_that_of_the_mean_affinity(progress):
    evidence = random_attention(5, 36)
    masking = generator_at(progress, shared=True)
    torch.manual_seed(0)
    mask = masking(5, (6, 6), 'cpu', evidence)
    assert all((part == part[:1]).all() and len(part) == 5 for part in mask[:3])
    assert (mask.hidden.sum(1) == 27).all()
    torch.manual_seed(0)
    if progress == 0:
        expected = RandomMask()(1, (6, 6))
    else:
        parent, _ = build_tree(affinity(evidence).mean(0, keepdim=True))
        expected = mask_nodes(cut_tree(parent, nodes_at(progress, 36)), 9)
    assert torch.equal(mask.ids_restore[3], expected.ids_restore[0])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')
@pytest.mark.parametrize('linkage', LINKAGES)
def test_trees_on_a_gpu_equal_those_of_the_cpu_and_are_reproducible(linkage):
    weights = gram(4, 100)
    parent, height = build_tree(weights, linkage)
    for _ in range(2):
        ours = build_tree(weights.cuda(), linkage)
        assert torch.equal(ours[0].cpu(), parent)
        torch.testing.assert_close(ours[1].cpu(), height)
    labels = cut_tree(ours[0], 12)
    assert torch.equal(labels.cpu(), cut_tree(parent, 12))
    assert (mask_nodes(labels, 25).hidden.sum(1) == 75).all()
    single = weights.float().cuda()
    first, second = build_tree(single, linkage), build_tree(single, linkage)
    assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])


@pytest.mark.parametrize('linkage', LINKAGES)
def test_rounds_that_are_queued_ahead_change_nothing(linkage, monkeypatch):
    """A GPU is asked for the number of clusters some rounds later: bit for bit the same trees."""
    weights = gram(4, 50)
    weights[1] = 0
    expected = build_tree(weights, linkage)
    monkeypatch.setitem(tree.ROUNDS_AHEAD, 'cpu', 4)
    assert all(map(torch.equal, build_tree(weights, linkage), expected))

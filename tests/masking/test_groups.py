"""Groups of visible positions: their numbers, overlaps and frequencies."""

import pytest
import torch

from mmmask.masking import FeatureGroupMask

# Grids of stages 3 to 5 of a ResNet for each image size.
GRIDS = {size: tuple((size // s, size // s) for s in (8, 16, 32)) for size in (224, 64, 32)}


def draw(size=224, num_images=3, seed=0, **options):
    torch.manual_seed(seed)
    return FeatureGroupMask(**options)(num_images, GRIDS[size])


def overlap(sets) -> int:
    """(G, K) indices -> number of positions that are in more than one set."""
    return sets.numel() - len(sets.unique())


@pytest.mark.parametrize(
    ('size', 'visible'),
    [
        (224, (39, 19, 12)),
        (192, (28, 14, 9)),
        (160, (20, 10, 6)),
        (128, (12, 6, 4)),
        (96, (7, 3, 2)),
        (64, (3, 1, 1)),
        (32, (1, 1, 1)),
    ],
)
def test_numbers_of_visible_positions(size, visible):
    grids = [(size // stride, size // stride) for stride in (8, 16, 32)]
    assert FeatureGroupMask().num_visible(grids) == visible


def test_groups_of_an_image_are_disjoint():
    groups = draw(num_images=4)
    assert [tuple(level.shape) for level in groups] == [(4, 4, 39), (4, 4, 19), (4, 4, 12)]
    for level, union in zip(groups, (156, 76, 48), strict=True):
        assert {len(image.unique()) for image in level} == {union}


def test_a_level_too_small_for_disjoint_sets_has_independent_sets():
    """8·12 > 49 positions at the last level, 8·39 = 312 of 784 at the first."""
    first, _, last = draw(num_groups=8)
    assert {len(image.unique()) for image in first} == {312}
    assert all(overlap(group) == 0 for image in last for group in image)
    assert any(overlap(image) for image in last)
    assert [level.flatten().tolist() for level in draw(32, 1)[2:]] == [[0] * 4]


def test_independent_groups_overlap():
    for level in draw(disjoint=False, ratios=(0.5, 0.5, 0.5)):
        assert all(overlap(image) > 0 for image in level)
        assert all(overlap(group) == 0 for image in level for group in image)


def test_the_seed_decides():
    same, other = draw(seed=0), draw(seed=1)
    assert all(torch.equal(a, b) for a, b in zip(draw(seed=0), same, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(other, same, strict=True))
    assert not torch.equal(same[0][0], same[0][1])


def test_every_position_is_equally_likely():
    """12 of 49: the standard error of 8,000 samples is √(p(1−p)/8000) = 0.0048, 5 are 0.024."""
    last = draw(num_images=8000)[-1]
    for group in last.unbind(1):
        frequency = torch.bincount(group.flatten(), minlength=49) / 8000
        torch.testing.assert_close(frequency, torch.full((49,), 12 / 49), atol=0.024, rtol=0)


@pytest.mark.parametrize('disjoint', [True, False])
def test_aligned_groups_lie_under_the_visible_cells(disjoint):
    groups = draw(aligned=True, disjoint=disjoint)
    cells = groups[-1]
    for level, side in zip(groups, (28, 14, 7), strict=True):
        factor = side // 7
        parents = level // side // factor * 7 + level % side // factor
        assert (parents.unsqueeze(-1) == cells.unsqueeze(2)).any(-1).all()
        if disjoint:
            assert all(overlap(image) == 0 for image in level)


def test_too_few_positions_below_the_cells_are_completed_by_others():
    """One of four cells is visible, so 4 of 16 positions lie below it, but 8 are needed."""
    torch.manual_seed(0)
    masking = FeatureGroupMask(ratios=(0.5, 0.75), num_groups=1, aligned=True)
    fine, coarse = masking(5, ((4, 4), (2, 2)))
    for positions, cell in zip(fine[:, 0], coarse[:, 0, 0], strict=True):
        assert len(positions.unique()) == 8
        assert (positions // 4 // 2 * 2 + positions % 4 // 2 == cell).sum() == 4


def test_a_ratio_of_zero_reads_everything():
    groups = draw(ratios=(0, 0, 0), num_groups=1)
    assert sum(level.shape[2] for level in groups) == 784 + 196 + 49
    assert torch.equal(groups[1][0, 0].sort().values, torch.arange(196))


def test_errors_name_the_key():
    with pytest.raises(ValueError, match=r'ratios=\(0.5, 1.0\)'):
        FeatureGroupMask(ratios=(0.5, 1.0))
    with pytest.raises(ValueError, match='num_groups=0'):
        FeatureGroupMask(num_groups=0)
    with pytest.raises(ValueError, match='3 levels, but the encoder returns 2 feature maps'):
        FeatureGroupMask()(1, GRIDS[224][:2])

import numpy as np
import pytest
import torch

from mmmask.masking import (
    BlockMask,
    RandomMask,
    gather_tokens,
    keep_all,
    mask_from_scores,
    num_visible,
    rescale_hidden,
    restore_tokens,
)

GRIDS = [(14, 14), (10, 10), (12, 12), (24, 24), (4, 6), (8, 2)]


def test_mask_from_scores_by_hand():
    mask = mask_from_scores(torch.tensor([[0.3, 0.1, 0.9, 0.2]]), num_keep=2)
    assert mask.ids_keep.tolist() == [[1, 3]]
    assert mask.hidden.tolist() == [[True, False, True, False]]
    # kept-then-hidden is [1, 3, 0, 2]; patch 0 is its third entry, patch 1 its first, ...
    assert mask.ids_restore.tolist() == [[2, 0, 3, 1]]


def test_the_grid_is_a_square_unless_it_is_given():
    assert mask_from_scores(torch.zeros(1, 9), 4).grid == (3, 3)
    assert mask_from_scores(torch.zeros(1, 6), 4, (2, 3)).grid == (2, 3)
    assert RandomMask(0.5)(1, (4, 6)).grid == BlockMask(0.5, 2)(1, (4, 6)).grid == (4, 6)
    for grid in (None, (2, 2)):
        with pytest.raises(ValueError, match=r'6 patches: pass grid=\(h, w\) with h \* w = 6'):
            mask_from_scores(torch.zeros(1, 6), 4, grid)


def test_a_mask_of_one_image_serves_many():
    mask = RandomMask(0.5)(1, (2, 3))
    many = mask.expand(4)
    assert many.grid == (2, 3)
    for part, expanded in zip(mask[:3], many[:3], strict=True):
        assert torch.equal(part.repeat(4, 1), expanded)


def test_equal_scores_hide_the_later_patches():
    mask = mask_from_scores(torch.zeros(1, 6), num_keep=2, grid=(2, 3))
    assert mask.ids_keep.tolist() == [[0, 1]]


@pytest.mark.parametrize('grid', GRIDS)
@pytest.mark.parametrize(
    ('generator', 'unit'), [(RandomMask(0.75), 1), (BlockMask(0.65, 2), 4)], ids=['random', 'block']
)
def test_generators_hide_the_exact_number_everywhere(generator, unit, grid):
    num_patches = grid[0] * grid[1]
    mask = generator(5, grid)
    num_keep = unit * int(num_patches // unit * (1 - generator.ratio) + 1e-6)
    assert mask.hidden.sum(1).tolist() == [num_patches - num_keep] * 5
    order = mask.ids_restore.argsort(1)
    assert torch.equal(order[:, :num_keep], mask.ids_keep)
    visible = torch.ones(5, num_patches).scatter(1, mask.ids_keep, 0).bool()
    assert torch.equal(visible, mask.hidden)
    assert torch.equal(order.sort(1).values, torch.arange(num_patches).expand(5, -1))


def test_random_mask_is_argsort_of_uniform_noise():
    torch.manual_seed(3)
    mask = RandomMask(0.75)(4, (14, 14))
    torch.manual_seed(3)
    noise = torch.rand(4, 196).numpy()
    assert np.array_equal(mask.ids_keep, noise.argsort(1, kind='stable')[:, :49])


def test_random_mask_hides_every_patch_equally_often():
    torch.manual_seed(0)
    frequency = RandomMask(0.75)(20_000, (4, 4)).hidden.float().mean(0)
    # standard error of a frequency: sqrt(.75 * .25 / 20000) = 0.003
    assert (frequency - 0.75).abs().max() < 0.0125


@pytest.mark.parametrize(
    ('ratio', 'grid', 'visible'),
    [
        (0.75, (8, 12), 6),  # of 24 blocks
        (0.65, (14, 14), 17),  # of 49, as published: 68 patches
        (
            0.65,
            (12, 12),
            12,
        ),  # int(36 * .35); int(144 * .35) = 50 patches are not whole blocks
        (0.7, (6, 6), 2),  # int(9 * .3)
    ],
)
def test_block_mask_hides_whole_blocks(ratio, grid, visible):
    torch.manual_seed(0)
    mask = BlockMask(ratio, 2)(16, grid)
    rows, columns = grid[0] // 2, grid[1] // 2
    blocks = mask.hidden.view(16, rows, 2, columns, 2).float().mean((2, 4)).flatten(1)
    assert set(blocks.unique().tolist()) == {0.0, 1.0}
    assert (blocks == 0).sum(1).tolist() == [visible] * 16
    assert len(blocks.unique(dim=0)) > 1


def test_restore_puts_tokens_back_and_fills_the_rest():
    tokens = torch.arange(24.0).view(2, 6, 2)
    mask = mask_from_scores(torch.rand(2, 6, generator=torch.Generator().manual_seed(1)), 4, (2, 3))
    restored = restore_tokens(
        gather_tokens(tokens, mask.ids_keep), mask, torch.full((1, 1, 2), -1.0)
    )
    expected = torch.where(mask.hidden.unsqueeze(-1), torch.tensor(-1.0), tokens)
    assert torch.equal(restored, expected)


def test_keep_all_hides_nothing_in_raster_order():
    mask = keep_all(2, (1, 5))
    assert not mask.hidden.any()
    assert mask.ids_keep.tolist() == [[0, 1, 2, 3, 4]] * 2


def test_rescaled_weights_by_hand():
    hidden = torch.tensor([[1, 0, 1, 1, 0, 0, 1, 0]], dtype=torch.bool)  # 2 x 4
    assert rescale_hidden(hidden, (2, 4), 1).tolist() == hidden.float().tolist()
    assert rescale_hidden(hidden, (2, 4), 0.5).tolist() == [[0.25, 0.75]]
    finer = rescale_hidden(hidden, (2, 4), 2).view(4, 8)
    assert finer[0].tolist() == finer[1].tolist() == [1, 1, 0, 0, 1, 1, 1, 1]
    assert finer[2].tolist() == finer[3].tolist() == [0, 0, 0, 0, 1, 1, 0, 0]


def test_loss_weights_of_vit_b():
    """Visible patches 0, 1, 14, 15, 2, 16: coarse weights 0, 0.5, 1; sums 3040, 760, 190, 47.5."""
    hidden = torch.ones(1, 196, dtype=torch.bool)
    hidden[0, [0, 1, 14, 15, 2, 16]] = False
    weights = [rescale_hidden(hidden, (14, 14), factor) for factor in (4, 2, 1, 0.5)]
    assert [w.sum().item() for w in weights] == [3040, 760, 190, 47.5]
    assert weights[3][0, :3].tolist() == [0, 0.5, 1]
    mask = RandomMask(0.75)(3, (14, 14))
    for factor, total in ((4, 2352), (2, 588), (1, 147), (0.5, 36.75)):
        assert rescale_hidden(mask.hidden, (14, 14), factor).sum(1).tolist() == [total] * 3


@pytest.mark.parametrize('ratio', [0, 1, -0.5, 75])
def test_a_ratio_outside_the_unit_interval_is_named(ratio):
    with pytest.raises(ValueError, match=rf'ratio={ratio} must lie in \(0, 1\)'):
        RandomMask(ratio)


def test_ratios_that_leave_nothing_visible_or_hidden_are_errors():
    with pytest.raises(ValueError, match='keeps 0 of 4 patches'):
        num_visible(4, 0.9)
    with pytest.raises(ValueError, match='keeps 4 of 4 patches'):
        num_visible(4, 1e-9)


def test_misfitting_blocks_and_scales_are_errors():
    with pytest.raises(ValueError, match='block_size=4 does not divide the 14x14 patch grid'):
        BlockMask(0.5, 4)(1, (14, 14))
    with pytest.raises(ValueError, match='both sides must be multiples of 2'):
        rescale_hidden(torch.zeros(1, 35, dtype=torch.bool), (5, 7), 0.5)


@pytest.mark.parametrize(('ratio', 'num_patches'), [(0.7, 10), (0.6, 25), (0.9, 10), (0.75, 196)])
def test_visible_count_ignores_rounding_errors(ratio, num_patches):
    assert num_visible(num_patches, ratio) == num_patches * round(100 - 100 * ratio) // 100

import pytest
import torch

from mmmask.masking import (
    RandomMask,
    SharedUnitMask,
    keep_all,
    restore_tokens,
    shared_visible,
    units_to_raster,
)


def test_the_same_37_of_49_units_are_hidden_in_all_images():
    torch.manual_seed(0)
    mask = SharedUnitMask(0.75)(5, (7, 7))
    assert mask.hidden.sum(1).tolist() == [37] * 5
    assert (mask.hidden == mask.hidden[0]).all()
    assert mask.shared_ids == tuple((~mask.hidden[0]).nonzero().flatten().tolist())
    assert mask.ids_keep.tolist() == [list(mask.shared_ids)] * 5
    assert torch.equal(mask.ids_restore.argsort(1)[:, :12], mask.ids_keep)


@pytest.mark.parametrize(
    ('ratio', 'grid', 'num_hidden'), [(0.75, (4, 4), 13), (0.7, (8, 8), 45), (0.6, (5, 5), 16)]
)
def test_one_unit_more_than_the_ratio_is_hidden(ratio, grid, num_hidden):
    assert SharedUnitMask(ratio)(1, grid).hidden.sum().item() == num_hidden


def test_the_seed_decides_and_every_unit_is_hidden_equally_often():
    torch.manual_seed(3)
    first, second = (SharedUnitMask()(1, (7, 7)) for _ in range(2))
    torch.manual_seed(3)
    order = torch.randperm(49)
    assert torch.equal(first.hidden[0], order <= 36)
    assert not torch.equal(first.hidden, second.hidden)
    hidden = torch.cat([SharedUnitMask()(1, (7, 7)).hidden for _ in range(4000)])
    # standard error of a frequency: sqrt(37/49 * 12/49 / 4000) = 0.007
    torch.testing.assert_close(
        hidden.float().mean(0), torch.full((49,), 37 / 49), atol=0.03, rtol=0
    )


def test_a_ratio_that_hides_everything_is_named():
    with pytest.raises(ValueError, match='ratio=0.75 hides all 4 units of a 2x2 grid'):
        SharedUnitMask(0.75)(1, (2, 2))
    with pytest.raises(ValueError, match=r'ratio=1.5 must lie in \(0, 1\)'):
        SharedUnitMask(1.5)


def test_common_visible_patches_are_read_from_any_mask():
    mask = RandomMask(0.5)(1, (4, 4))
    rows = mask.expand(3)
    assert shared_visible(rows) == tuple(mask.ids_keep[0].tolist())
    assert shared_visible(SharedUnitMask()(2, (7, 7))._replace(ids_keep=rows.ids_keep)) == (
        shared_visible(rows)
    )
    assert shared_visible(keep_all(2, (1, 5))) == (0, 1, 2, 3, 4)
    with pytest.raises(ValueError, match=r'different visible patches.*use mmmask.SharedUnitMask'):
        shared_visible(RandomMask(0.5)(8, (4, 4)))


def test_tokens_of_a_unit_are_restored_side_by_side():
    torch.manual_seed(0)
    mask = SharedUnitMask(0.5)(2, (2, 4))
    visible = torch.arange(2 * 3 * 4.0).view(2, 12, 1)  # 3 units of 4 tokens
    restored = restore_tokens(visible, mask, torch.full((1, 1, 1), -1.0)).view(2, 8, 4)
    assert restored[mask.hidden].eq(-1).all()
    assert torch.equal(restored[:, list(mask.shared_ids)].reshape(2, 12, 1), visible)


def test_unit_order_to_raster_by_hand():
    # two units of 2 x 2 tokens side by side
    tokens = torch.arange(8).view(1, 8, 1)
    assert units_to_raster(tokens, (1, 2)).flatten().tolist() == [0, 1, 4, 5, 2, 3, 6, 7]
    assert units_to_raster(tokens, (2, 1)).flatten().tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
    assert units_to_raster(tokens, (2, 4)) is tokens

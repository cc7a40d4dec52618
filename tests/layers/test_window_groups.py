import pytest
import torch

from mmmask.layers.window_groups import group_windows, pack, token_coordinates

# The visible units for which the reference implementation's groups are known.
UNITS = (0, 5, 9, 14, 18, 22, 27, 30, 33, 38, 41, 48)


def test_packing_by_hand():
    # 7 = 4 + 3 fills a group, then 5 + 2 of the remaining items does, then 2 is left
    assert pack([5, 4, 3, 2, 2], capacity=7) == [[1, 2], [0, 3], [4]]
    assert pack([6, 6], capacity=7) == [[0], [1]]


def test_every_group_is_filled_as_well_as_possible():
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        sizes = torch.randint(1, 10, (9,), generator=generator).tolist()
        groups = pack(sizes, capacity=12)
        assert sorted(item for group in groups for item in group) == list(range(9))
        left = set(range(9))
        for group in groups:
            best = 0
            for subset in range(1 << 9):
                items = [item for item in left if subset >> item & 1]
                total = sum(sizes[item] for item in items)
                best = max(best, total if total <= 12 else 0)
            assert sum(sizes[item] for item in group) == best
            left -= set(group)


@pytest.mark.parametrize(
    ('side', 'shift', 'scrambled', 'length', 'num_groups'),
    [
        (8, 0, False, 49, 16),
        (8, 3, False, 42, 20),
        (4, 0, True, 21, 10),
        (4, 3, True, 21, 10),
        (2, 0, True, 48, 1),
        (2, 3, True, 48, 1),
        (1, 0, False, 12, 1),
    ],
)
def test_groups_of_the_reference(side, shift, scrambled, length, num_groups):
    groups = group_windows(UNITS, (7, 7), side, window=7, shift=shift, scrambled=scrambled)
    assert groups.blocked.shape == (num_groups, length, length)


def test_scrambled_coordinates_of_the_second_stage():
    units = torch.arange(49)
    rows, columns = token_coordinates(units, (7, 7), 4)
    assert (rows[16], columns[16]) == (0, 4)
    assert (rows[28], columns[28]) == (3, 4)
    rows, columns = token_coordinates(units, (7, 7), 4, scrambled=True)
    assert (rows[16], columns[16]) == (0, 16)
    assert (rows[28], columns[28]) == (1, 0)


@pytest.mark.parametrize(('side', 'shift'), [(8, 0), (8, 3), (4, 3), (2, 3)])
def test_tokens_attend_exactly_to_the_tokens_of_their_window(side, shift):
    groups = group_windows(UNITS, (7, 7), side, window=7, shift=shift)
    num_tokens = len(UNITS) * side**2
    assert torch.equal(groups.members[groups.places], torch.arange(num_tokens))
    meets = torch.zeros(num_tokens, num_tokens, dtype=torch.bool)
    offset = torch.zeros(num_tokens, num_tokens, dtype=torch.long)
    length = groups.blocked.shape[1]
    group, place = groups.places // length, groups.places % length
    same = group[:, None] == group
    pair = (group[:, None], place[:, None], place)
    meets[same] = ~groups.blocked[pair][same]
    offset[same] = groups.offsets[pair][same]

    rows, columns = token_coordinates(torch.tensor(UNITS), (7, 7), side)
    window = torch.stack([(rows + 7 - shift) // 7, (columns + 7 - shift) // 7])
    expected = (window[:, :, None] == window[:, None]).all(0)
    assert torch.equal(meets, expected)
    index = (rows[:, None] - rows + 6) * 13 + columns[:, None] - columns + 6
    assert torch.equal(offset[expected], index[expected])


def test_padding_attends_to_padding_and_no_token_attends_to_it():
    groups = group_windows(UNITS, (7, 7), 8, window=7, shift=3)
    length = groups.blocked.shape[1]
    padding = torch.ones(groups.members.shape, dtype=torch.bool)
    padding[groups.places] = False
    padding = padding.view(-1, length)
    assert padding.sum() == 20 * 42 - 768
    differ = padding.unsqueeze(2) != padding.unsqueeze(1)
    assert groups.blocked[differ].all()
    assert not groups.blocked.all(dim=2).any()


def test_windows_that_do_not_tile_are_named():
    with pytest.raises(ValueError, match='windows of 7 do not tile a map of 64x64 tokens'):
        group_windows((0, 1), (8, 8), 8, window=7)

"""Masks that keep or target blocks of patches."""

import numpy as np
import pytest
import torch

from mmmask.masking import (
    InverseBlockMask,
    Mask,
    RandomMask,
    TargetBlockMask,
    gather_positions,
    hide_positions,
    scatter_positions,
)


def extents(blocks: torch.Tensor, grid: tuple[int, int]) -> np.ndarray:
    """(..., T) indices -> (..., 2): rows and columns of the rectangle around a block."""
    rows, columns = blocks // grid[1], blocks % grid[1]
    sides = [axis.amax(-1) - axis.amin(-1) + 1 for axis in (rows, columns)]
    return torch.stack(sides, dim=-1).numpy()


class TestTargetBlocks:
    @pytest.mark.parametrize('grid', [(14, 14), (8, 8), (8, 12), (20, 6)])
    def test_the_encoder_sees_nothing_of_any_block(self, grid):
        torch.manual_seed(0)
        mask = TargetBlockMask(num_targets=4, scale=0.175)(64, grid)
        num_patches = grid[0] * grid[1]
        assert mask.ids_predict.shape == (64, 4, int(0.175 * num_patches))
        assert mask.ids_keep.shape[1] == int(0.3 * num_patches + 1e-6)
        for visible, blocks in zip(mask.ids_keep.tolist(), mask.ids_predict.tolist(), strict=True):
            assert not set(visible) & {patch for block in blocks for patch in block}
            assert all(len({*block}) == len(block) for block in blocks)
        assert torch.equal(mask.hidden.gather(1, mask.ids_keep).any(), torch.tensor(False))
        assert torch.equal(mask.blocks, mask.ids_predict)

    def test_a_square_block_of_nine_patches(self):
        torch.manual_seed(0)
        mask = TargetBlockMask(num_targets=1, scale=1 / 9, aspect_ratios=(1.0, 1.0))(200, (9, 9))
        assert (extents(mask.ids_predict, (9, 9)) == 3).all()
        # Every patch is a target of some image, those at the border less often.
        counts = torch.bincount(mask.ids_predict.flatten(), minlength=81).view(9, 9)
        assert counts.min() > 0
        assert counts[3:6, 3:6].min() > counts[[0, 0, 8, 8], [0, 8, 0, 8]].max()

    @pytest.mark.parametrize(('ratio', 'shape'), [(4.0, (8, 2)), (0.25, (2, 8)), (1.0, (4, 4))])
    def test_aspect_ratio_is_height_over_width(self, ratio, shape):
        mask = TargetBlockMask(num_targets=3, scale=1 / 16, aspect_ratios=(ratio, ratio))
        assert (extents(mask(20, (16, 16)).ids_predict, (16, 16)) == shape).all()

    def test_blocks_are_nearly_rectangles(self):
        torch.manual_seed(0)
        targets = TargetBlockMask()(64, (14, 14)).ids_predict  # 34 patches each
        sides = extents(targets, (14, 14))
        assert (sides.prod(-1) - 34 < sides.max(-1)).all()
        assert (sides.min(), sides.max()) == (5, 8)

    def test_blocks_without_targets_are_all_hidden_patches(self):
        mask = RandomMask(0.75)(3, (4, 4))
        for image in range(3):
            hidden = mask.hidden[image].nonzero().flatten().tolist()
            assert sorted(mask.blocks[image, 0].tolist()) == hidden

    def test_targets_are_expanded_with_the_mask(self):
        mask = TargetBlockMask()(1, (8, 8))
        assert torch.equal(mask.expand(5).ids_predict[3], mask.ids_predict[0])
        assert isinstance(mask.expand(5), Mask)

    @pytest.mark.parametrize(
        ('options', 'message'),
        [
            (dict(num_targets=5, scale=0.2), 'num_targets=5 blocks of scale=0.2 may cover'),
            (dict(num_targets=0), 'num_targets=0'),
            (dict(aspect_ratios=(1.5, 0.75)), 'must be positive and ascending'),
        ],
    )
    def test_what_is_impossible_is_refused(self, options, message):
        with pytest.raises(ValueError, match=message):
            TargetBlockMask(**options)
        with pytest.raises(ValueError, match='leaves no patch for a block on a 2x2 grid'):
            TargetBlockMask(num_targets=2)(1, (2, 2))


class TestInverseBlocks:
    def test_one_block_is_visible(self):
        """9 of 64 patches: the 3 x 3 around a patch, and random ones where the border cuts it."""
        torch.manual_seed(0)
        mask = InverseBlockMask(ratio=1 - 9 / 64, surplus=0.0)(200, (8, 8))
        whole = 0
        for hidden in mask.hidden.view(200, 8, 8).numpy():
            assert (~hidden).sum() == 9
            around = [
                (~hidden)[max(r - 1, 0) : r + 2, max(c - 1, 0) : c + 2].all()
                for r in range(8)
                for c in range(8)
            ]
            assert any(around)
            rows, columns = np.nonzero(~hidden)
            whole += np.ptp(rows) == np.ptp(columns) == 2
        assert whole / 200 == pytest.approx(36 / 64, abs=0.1)

    def test_numbers_of_the_paper(self):
        """5 blocks at 14 x 14; 39 patches are visible in every image."""
        torch.manual_seed(0)
        mask = InverseBlockMask()(64, (14, 14))
        assert mask.ids_keep.shape == (64, 39)
        assert (mask.hidden.sum(dim=1) == 157).all()

    @pytest.mark.parametrize('options', [dict(block_size=2), dict(block_size=0), dict(surplus=-1)])
    def test_what_is_impossible_is_refused(self, options):
        with pytest.raises(ValueError, match='must be an odd number.*must not be negative'):
            InverseBlockMask(**options)


class TestPositionsOfMaps:
    """Maps of 2 x 2 positions for each patch of a 2 x 3 grid."""

    maps = torch.arange(2 * 3 * 4 * 6, dtype=torch.float32).view(2, 3, 4, 6) + 1
    mask = RandomMask(0.5)(2, (2, 3))

    def positions(self, image, patch):
        row, column = 2 * (patch // 3), 2 * (patch % 3)
        return self.maps[image, :, row : row + 2, column : column + 2].flatten(1)

    def test_gather_in_the_order_of_the_visible_patches(self):
        gathered = gather_positions(self.maps, self.mask)
        for image in range(2):
            parts = [self.positions(image, patch) for patch in self.mask.ids_keep[image].tolist()]
            assert torch.equal(gathered[image, :, :, 0], torch.cat(parts, dim=1))

    def test_scatter_is_the_inverse_and_leaves_zeros(self):
        scattered = scatter_positions(gather_positions(self.maps, self.mask), self.mask)
        hidden = self.mask.hidden.view(2, 1, 2, 3).repeat_interleave(2, 2).repeat_interleave(2, 3)
        assert torch.equal(scattered, self.maps * ~hidden)
        assert torch.equal(hide_positions(self.maps, self.mask), scattered)
        filler = torch.tensor([-1.0, -2, -3]).view(1, 3, 1, 1)
        filled = hide_positions(self.maps, self.mask, filler)
        assert torch.equal(filled, torch.where(hidden, filler, self.maps))

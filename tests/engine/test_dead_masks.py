"""Warnings about masks that hide no patch, all patches, or always the same ones."""

import pytest
import torch
from conftest import build_model

from mmmask.engine.hooks import DeadMaskHook
from mmmask.engine.hooks.dead_masks import compare_masks
from mmmask.masking import Mask, RandomMask


class Constant(torch.nn.Module):
    """Always the same mask."""

    needs_evidence, ratio = False, 0.75

    def __init__(self, num_keep=16):
        super().__init__()
        self.num_keep = num_keep

    def forward(self, num_images, grid, device, evidence=None):
        ids = torch.arange(grid[0] * grid[1]).expand(num_images, -1)
        return Mask(ids >= self.num_keep, ids[:, : self.num_keep], ids, grid)


class Run:
    iter = 499

    def __init__(self, model):
        self.model, self.warnings, self.scalars = model, [], {}
        self.logger = self.message_hub = self

    def warning(self, line):
        self.warnings.append(line)

    def update_scalar(self, name, value):
        self.scalars[name] = value


@pytest.fixture(scope='module')
def model():
    return build_model('demo/mae_vit-tiny_digits.py')


@pytest.fixture
def look(model):
    def look(**boxes):
        run, former = Run(model), {name: getattr(model, name) for name in boxes}
        for name, box in boxes.items():
            setattr(model, name, box)
        images = torch.randint(0, 256, (8, 3, 64, 64), generator=torch.Generator().manual_seed(0))
        state = torch.get_rng_state()
        batch = dict(inputs=images.to(torch.uint8), data_samples=[])
        DeadMaskHook().after_train_iter(run, 499, batch)
        assert torch.equal(torch.get_rng_state(), state) and model.training
        for name, box in former.items():
            setattr(model, name, box)
        return run

    return look


def test_healthy(look):
    run = look()
    assert run.warnings == []
    # 2 * 3/4 * 1/4 of the patches on average
    assert run.scalars['train/mask_change'] == pytest.approx(0.375, abs=0.08)


@pytest.mark.parametrize(
    ('masking', 'told'),
    [
        (Constant(), '75% of the patches are hidden and 0.00% of them differ'),
        (Constant(64), '0% of the patches are hidden'),
        (Constant(0), '100% of the patches are hidden'),
    ],
)
def test_dead_masks(look, masking, told):
    (line,) = look(masking=masking).warnings
    assert line.startswith('Dead mask: at iteration 500') and told in line


def test_random_masks(model):
    model.masking, former = RandomMask(0.5), model.masking
    torch.manual_seed(0)
    images = torch.zeros(64, 3, 64, 64)
    seen = torch.tensor([compare_masks(model, images) for _ in range(4)])
    model.masking = former
    assert seen[:, 1].tolist() == [0.5] * 4
    assert seen[:, 0].mean().item() == pytest.approx(0.5, abs=0.02)

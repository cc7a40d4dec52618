"""What may differ on a GPU: every method's loss, its masks, its training in bf16, and HOG."""

import pytest
import torch
from conftest import DEMOS, build_model
from torch import nn

from mmmask.targets import HOGTarget

DEVICE = 'cuda'
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device'),
]
demo_configs = pytest.mark.parametrize('config', DEMOS, ids=lambda path: path.stem)


class FixedMask(nn.Module):
    """Gives one mask, drawn before, on any device."""

    needs_evidence = False

    def __init__(self, mask):
        super().__init__()
        self.mask = mask

    def forward(self, num_images, grid, device='cpu', evidence=None):
        return type(self.mask)(*(part.to(device) for part in self.mask))


@pytest.fixture(autouse=True)
def exact_matrix_products():
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


@pytest.fixture
def images() -> torch.Tensor:
    """(8, 3, 64, 64): smooth blobs."""
    noise = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return nn.functional.interpolate(noise, size=64, mode='bicubic')


def total(losses):
    return sum(value for name, value in losses.items() if 'loss' in name)


@demo_configs
def test_the_loss_is_the_cpu_s(config, images):
    model = build_model(config).eval()
    model.masking = FixedMask(model.draw_mask(images))
    expected = model(images, mode='loss')
    found = model.to(DEVICE)(images.to(DEVICE), mode='loss')
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name].cpu(), value, rtol=1e-3, atol=1e-5)


@demo_configs
def test_masks_are_drawn_on_the_gpu(config, images):
    model = build_model(config).eval().to(DEVICE)
    mask = model.draw_mask(images.to(DEVICE))
    assert {part.device.type for part in mask} == {DEVICE}
    hidden, ids_keep, ids_restore = (part.cpu() for part in mask)
    assert (hidden.sum(1) == hidden.shape[1] - ids_keep.shape[1]).all()
    assert not hidden.gather(1, ids_keep).any()
    assert (ids_restore.sort(1).values == torch.arange(hidden.shape[1])).all()
    positions = torch.arange(ids_keep.shape[1]).expand_as(ids_keep)
    assert torch.equal(ids_restore.gather(1, ids_keep), positions)


@demo_configs
def test_the_loss_falls_in_bf16(config, images):
    model, images = build_model(config).to(DEVICE), images.to(DEVICE)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    history = []
    for step in range(30):
        torch.manual_seed(step % 2)
        with torch.autocast(DEVICE, torch.bfloat16):
            loss = total(model(images, mode='loss'))
        history.append(loss.detach())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    history = torch.stack(history).cpu()
    assert history.isfinite().all()
    assert history[-4:].sum() < 0.8 * history[:4].sum()


def test_hog_under_autocast_is_the_cpu_s(photographs):
    """A pixel on the border of two bins may fall on the other side, hence the small share."""
    target = HOGTarget()
    expected = target(photographs)
    with torch.autocast(DEVICE, torch.bfloat16):
        found = target.to(DEVICE)(photographs.to(DEVICE))
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == torch.float32
        assert ((ours.cpu() - theirs).abs() > 1e-4).float().mean() < 1e-3

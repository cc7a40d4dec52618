"""Results that may differ on a GPU: losses, masks, training in bf16, HOG and attention.

Without a GPU, the CPU takes its place in the tests of losses and masks, which keeps them valid.
"""

import pytest
import torch
from conftest import DEMOS, build_model
from mmpretrain.models.backbones import ViTSAM
from torch import nn

from mmmask.models import WindowVisionTransformer
from mmmask.targets import HOGTarget

DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'
pytestmark = pytest.mark.gpu
needs_gpu = pytest.mark.skipif(DEVICE == 'cpu', reason='needs a CUDA device')
# MaskDeep hides positions of feature maps instead of patches.
PATCHES = [path for path in DEMOS if not path.stem.startswith('maskdeep')]
demo_configs = pytest.mark.parametrize('config', DEMOS, ids=lambda path: path.stem)
patch_configs = pytest.mark.parametrize('config', PATCHES, ids=lambda path: path.stem)


class RecordedMasks(nn.Module):
    """Draw masks by a generator, and later return the same ones on another device."""

    def __init__(self, masking):
        super().__init__()
        self.masking, self.needs_evidence = masking, masking.needs_evidence
        self.masks, self.is_replaying = [], False

    def forward(self, num_images, grid, device='cpu', evidence=None):
        if self.is_replaying:
            return moved(self.masks.pop(0), device)
        self.masks.append(self.masking(num_images, grid, device, evidence))
        return self.masks[-1]


def moved(mask, device):
    """A mask on another device; its grid is not a tensor, and it may have no blocks."""
    return type(mask)(*(one.to(device) if torch.is_tensor(one) else one for one in mask))


@pytest.fixture(autouse=True)
def exact_matrix_products():
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


@pytest.fixture
def images() -> torch.Tensor:
    """(8, 3, 64, 64) smooth images."""
    noise = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return nn.functional.interpolate(noise, size=64, mode='bicubic')


def views(images):
    """Return two views of each image; methods with one view use the first."""
    return [images, images.flip(-1)]


def total(losses):
    return sum(value for name, value in losses.items() if 'loss' in name)


@patch_configs
def test_loss_equals_the_loss_on_the_cpu(config, images):
    model = build_model(config).eval()
    model.masking = RecordedMasks(model.masking)
    if hasattr(model, 'predict_ratio'):
        model.predict_ratio = 0.75  # all hidden patches, of which CrossMAE draws a part
    expected = model(views(images), mode='loss')
    model.masking.is_replaying = True
    found = model.to(DEVICE)(views(images.to(DEVICE)), mode='loss')
    assert not model.masking.masks
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name].cpu(), value, rtol=1e-3, atol=1e-5)


@patch_configs
def test_masks_are_sampled_on_the_gpu(config, images):
    model = build_model(config).eval().to(DEVICE)
    mask = model.draw_mask(images.to(DEVICE))
    assert {part.device.type for part in mask if torch.is_tensor(part)} == {DEVICE}
    hidden, ids_keep, ids_restore, _, ids_predict = moved(mask, 'cpu')
    if ids_predict is not None:
        assert hidden.gather(1, ids_predict.flatten(1)).all()
    assert (hidden.sum(1) == hidden.shape[1] - ids_keep.shape[1]).all()
    assert not hidden.gather(1, ids_keep).any()
    assert (ids_restore.sort(1).values == torch.arange(hidden.shape[1])).all()
    positions = torch.arange(ids_keep.shape[1]).expand_as(ids_keep)
    assert torch.equal(ids_restore.gather(1, ids_keep), positions)


@needs_gpu
def test_predictions_of_maskdeep_equal_those_on_the_cpu(images):
    model = build_model('demo/maskdeep_resnet-tiny_digits.py').eval()
    with torch.no_grad():
        groups = model.draw_groups(model.encode(images))
        expected = model.head.predict(model.neck(model.encode(images), groups))['masked']
        model.to(DEVICE)
        maps = model.encode(images.to(DEVICE))
        groups = [level.to(DEVICE) for level in groups]
        found = model.head.predict(model.neck(maps, groups))['masked']
    assert {level.device.type for level in model.draw_groups(maps)} == {DEVICE}
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-3, atol=1e-4)


@needs_gpu
@demo_configs
def test_the_loss_falls_in_bf16(config, images):
    model, images = build_model(config).to(DEVICE), images.to(DEVICE)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    history = []
    for step in range(30):
        torch.manual_seed(step % 2)
        with torch.autocast(DEVICE, torch.bfloat16):
            loss = total(model(views(images), mode='loss'))
        history.append(loss.detach())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    history = torch.stack(history).cpu()
    assert history.isfinite().all()
    assert history[-4:].sum() < 0.8 * history[:4].sum()


@needs_gpu
def test_hog_under_autocast_equals_hog_on_the_cpu(photographs):
    """A pixel at the border of two bins may change bins, so a small fraction may differ."""
    target = HOGTarget()
    expected = target(photographs)
    with torch.autocast(DEVICE, torch.bfloat16):
        found = target.to(DEVICE)(photographs.to(DEVICE))
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == torch.float32
        assert ((ours.cpu() - theirs).abs() > 1e-4).float().mean() < 1e-3


@needs_gpu
def test_fused_attention_with_relative_positions_equals_the_explicit_one():
    """Both agree in fp32 and in half precision, for global and for window attention."""
    arch = dict(
        embed_dims=128, num_layers=2, num_heads=2, feedforward_channels=128,
        global_attn_indexes=[1],
    )  # fmt: skip
    torch.manual_seed(0)
    explicit = ViTSAM(arch=arch, img_size=512, out_channels=0).to(DEVICE)
    for parameter in explicit.parameters():
        nn.init.normal_(parameter, std=0.1)
    fused = WindowVisionTransformer(arch=arch, img_size=512).to(DEVICE)
    fused.load_state_dict(explicit.state_dict())
    explicit.eval(), fused.eval()
    images = torch.randn(1, 3, 512, 512, device=DEVICE)
    with torch.no_grad():
        expected = explicit(images)[0]
        for dtype, tolerance in ((torch.float32, 1e-4), (torch.float16, 3e-2)):
            with torch.autocast(DEVICE, dtype, enabled=dtype != torch.float32):
                difference = (fused(images)[0].float() - expected).abs().max()
            assert difference < tolerance * expected.abs().max()

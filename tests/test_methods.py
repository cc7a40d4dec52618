"""One suite for every registered pre-training method, run on the configs of configs/demo.

A new method is tested by being registered and by having a demo config.
"""

import copy

import pytest
import torch
from conftest import DEMOS, build_model
from mmpretrain.models import ConvNeXt, ResNet, SwinTransformer, VisionTransformer

from mmmask.masking import BlockMask, Mask
from mmmask.models import MaskDeep, MaskedImageModel, MaskedSwinTransformer, Reconstruction
from mmmask.registry import MODELS

BASE_CLASSES = {'MaskedImageModel'}
# MaskDeep hides positions of feature maps instead of patches, and its loss may be negative.
PATCHES = [path for path in DEMOS if not path.stem.startswith('maskdeep')]
demo_configs = pytest.mark.parametrize('config', DEMOS, ids=lambda path: path.stem)
patch_configs = pytest.mark.parametrize('config', PATCHES, ids=lambda path: path.stem)


@pytest.fixture
def images() -> torch.Tensor:
    """(8, 3, 64, 64) smooth blobs, whose hidden parts are predictable."""
    noise = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(noise, size=64, mode='bicubic')


def views(images: torch.Tensor) -> list[torch.Tensor]:
    """Two views of each image; methods with one view take the first."""
    return [images, images.flip(-1)]


def total(losses: dict[str, torch.Tensor]) -> torch.Tensor:
    return sum(value for name, value in losses.items() if 'loss' in name)


def near(model, fraction: float) -> dict[str, float]:
    """Tolerance: a fraction of the loss, or for MaskDeep of the range of its loss, which is 8."""
    return dict(abs=8 * fraction) if isinstance(model, MaskDeep) else dict(rel=fraction)


def test_every_registered_method_has_a_demo_config():
    algorithms = {
        name
        for name, cls in MODELS.module_dict.items()
        if isinstance(cls, type)
        and issubclass(cls, (MaskedImageModel, MaskDeep))
        and cls.__module__.startswith('mmmask.')  # other suites register methods of their own
    }
    shown = {type(build_model(config)).__name__ for config in DEMOS}
    assert algorithms - BASE_CLASSES == shown - BASE_CLASSES


@demo_configs
def test_the_loss_falls_on_one_batch(config, images):
    model = build_model(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    history = []
    for step in range(30):
        torch.manual_seed(step % 2)  # two alternating masks: only learning lowers the loss
        loss = total(model(views(images), mode='loss'))
        history.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert sum(history[-4:]) < 0.8 * sum(history[:4])


@demo_configs
def test_every_trained_parameter_gets_a_gradient(config, images):
    model = build_model(config)
    total(model(views(images), mode='loss')).backward()
    without = [
        name
        for name, p in model.named_parameters()
        if p.requires_grad and (p.grad is None or not p.grad.abs().sum() > 0)
    ]
    assert without == []
    assert all(p.grad is None for p in model.parameters() if not p.requires_grad)


@demo_configs
def test_the_seed_decides_and_a_saved_model_is_the_same(config, images, tmp_path):
    model = build_model(config)
    torch.save(model.state_dict(), tmp_path / 'model.pth')
    other = build_model(config, seed=1)
    other.load_state_dict(torch.load(tmp_path / 'model.pth', weights_only=True), strict=True)
    losses = []
    for candidate in (model, other, model):
        torch.manual_seed(5)
        losses.append({k: v.item() for k, v in candidate(views(images), mode='loss').items()})
    assert losses[0] == losses[1] == losses[2]
    torch.manual_seed(6)
    assert {k: v.item() for k, v in model(views(images), mode='loss').items()} != losses[0]


@demo_configs
def test_the_backbone_loads_into_plain_mmpretrain(config, images):
    """The state dict loads strictly, and features are equal."""
    model = build_model(config).eval()
    backbone = model.backbone
    families = VisionTransformer, SwinTransformer, ResNet, ConvNeXt
    plain_class = next(cls for cls in type(backbone).__mro__ if cls in families)
    arguments = copy.deepcopy(config_of(config).model.backbone)
    arguments.pop('type')
    if plain_class is VisionTransformer:
        arguments.setdefault('out_type', 'raw')
    if plain_class is ConvNeXt:
        arguments.setdefault('gap_before_final_norm', False)
    plain = plain_class(**arguments)
    plain.load_state_dict(backbone.state_dict(), strict=True)
    plain.eval()
    with torch.no_grad():
        for ours, theirs in zip(model(images), plain(images), strict=True):
            assert torch.equal(ours, theirs)


@patch_configs
def test_predict_returns_what_the_loss_compares(config, images):
    model = build_model(config).eval()
    result = model(images, mode='predict')
    assert isinstance(result, Reconstruction)
    target = model.target_generator(images)
    target = (target,) if isinstance(target, torch.Tensor) else target
    for shown, expected in zip(result.target, target, strict=True):
        assert torch.equal(shown, expected)
    losses = model.head(
        result.prediction if len(result.prediction) > 1 else result.prediction[0],
        result.target if len(result.target) > 1 else result.target[0],
        result.mask,
    )
    assert all(value > 0 for value in losses.values())
    assert not result.prediction[0].requires_grad


class SharedBlockMask(BlockMask):
    """One mask for all images."""

    def forward(self, num_images, *args) -> Mask:
        return super().forward(1, *args).expand(num_images)


@patch_configs
def test_any_patch_mask_generator_fits(config, images):
    model = build_model(config)
    shared = isinstance(model.backbone, MaskedSwinTransformer)
    model.masking = (SharedBlockMask if shared else BlockMask)(0.5, 2)
    result = model(images, mode='predict')
    blocks = result.mask.hidden.view(8, 4, 2, 4, 2).float().mean((2, 4))
    assert set(blocks.unique().tolist()) == {0.0, 1.0}
    assert blocks.mean().item() == 0.5


@demo_configs
def test_other_and_oblong_sizes_train(config):
    """A model for 64 px trains on 64 x 96 px: the loss is close to its value at 64 px."""
    model = build_model(config)
    model.position_head = None  # its classes are the patches of one grid
    if getattr(model, 'contrast_head', None) is not None:
        model.contrast_head.temperature = 1.0  # at a lower one the loss of four images is noisy
    smooth = torch.nn.functional.interpolate(
        torch.randn(4, 3, 8, 12), size=(64, 96), mode='bicubic'
    )
    with torch.no_grad():
        square, oblong = (
            total(model(views(x), mode='loss')).item() for x in (smooth[..., :64], smooth)
        )
    assert oblong == pytest.approx(square, **near(model, 0.1))


@demo_configs
def test_half_precision_is_close(config, images):
    model = build_model(config)
    losses = []
    for dtype in (torch.float32, torch.bfloat16):
        torch.manual_seed(0)
        with torch.no_grad(), torch.autocast('cpu', dtype, enabled=dtype != torch.float32):
            losses.append(total(model(views(images), mode='loss')))
    assert losses[1].dtype == torch.float32
    assert losses[1].item() == pytest.approx(losses[0].item(), **near(model, 0.01))


def test_an_unknown_mode_is_named(images):
    with pytest.raises(ValueError, match="mode='train' is not one of"):
        build_model(DEMOS[0])(images, mode='train')


def test_the_first_of_several_views_is_used(images):
    model = build_model(DEMOS[0]).eval()
    assert torch.equal(model([images, images + 1])[0], model(images)[0])


def config_of(path):
    from mmengine.config import Config

    return Config.fromfile(path)

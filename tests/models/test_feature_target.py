"""Features of timm's networks as targets: their values, and which weights they have."""

import copy

import pytest
import timm
import torch
import torch.nn.functional as F
from conftest import build_model
from mmengine.config import Config

from mmmask.apis.validate import ConfigError, validate_config
from mmmask.models import FeatureTarget

CONFIG = 'demo/features_vit-tiny_digits.py'
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def target(name='test_vit', patch_size=16, weights='random', **options) -> FeatureTarget:
    torch.manual_seed(0)
    return FeatureTarget(name, patch_size, weights=weights, **options)


def test_values_are_those_of_timm_for_images_as_the_network_knows_them():
    """test_vit was trained with mean and deviation 0.5 of pixels in 0 to 1."""
    generator = target(normalize=False, image_mean=MEAN, image_std=STD)
    pixels = 255 * torch.rand(2, 3, 160, 160)
    images = (pixels - torch.tensor(MEAN).view(-1, 1, 1)) / torch.tensor(STD).view(-1, 1, 1)
    expected = generator.network.model.forward_intermediates(
        pixels / 127.5 - 1, indices=1, intermediates_only=True, norm=False
    )[-1]
    torch.testing.assert_close(generator(images), expected.flatten(2).mT, rtol=1e-4, atol=1e-4)


def test_vectors_are_standardised():
    vectors = target()(torch.randn(2, 3, 160, 160))
    mean, variance = vectors.mean(dim=-1), vectors.var(dim=-1, correction=0)
    torch.testing.assert_close(mean, torch.zeros(2, 100), atol=1e-5, rtol=0)
    torch.testing.assert_close(variance, torch.ones(2, 100), atol=1e-3, rtol=0)


def test_images_are_resized_to_one_position_for_each_patch():
    images = torch.randn(2, 3, 64, 96)
    large = F.interpolate(images, (128, 192), mode='bicubic', antialias=True)
    torch.testing.assert_close(
        target(patch_size=8, image_std=[127.5] * 3, image_mean=[127.5] * 3)(images),
        target(patch_size=16, image_std=[127.5] * 3, image_mean=[127.5] * 3)(large),
    )


def test_layers_are_targets_of_their_own():
    generator = target('resnet18', 8, layers=[1, 2])
    images = torch.randn(2, 3, 64, 64)
    fine, coarse = generator(images)
    assert (fine.shape, coarse.shape) == ((2, 256, 64), (2, 64, 128))
    assert generator.channels(3) == (64, 128)
    assert generator.sizes == (4, 8)
    single = target('resnet18', 8, layers=2)
    single.load_state_dict(generator.state_dict())
    assert torch.equal(single(images), coarse)
    assert single.channels(3) == 128


def test_the_network_stays_as_it_is():
    generator = target('resnet18', 8, layers=2).train()
    before = copy.deepcopy(generator.state_dict())
    images = torch.randn(2, 3, 64, 64, requires_grad=True)
    assert not generator(images).requires_grad
    assert all(torch.equal(value, before[name]) for name, value in generator.state_dict().items())
    assert not any(p.requires_grad for p in generator.parameters())


def test_a_file_of_timm_is_read(tmp_path):
    full = timm.create_model('test_vit')
    path = tmp_path / 'vit.pth'
    torch.save(full.state_dict(), path)
    generator = target(weights=str(path))
    generator.init_weights()
    images = torch.randn(1, 3, 160, 160)
    expected = full.eval().forward_intermediates(
        (images / 255 - 0.5) / 0.5, indices=1, intermediates_only=True, norm=False
    )[-1]
    expected = F.layer_norm(expected.flatten(2).mT, (64,))
    torch.testing.assert_close(generator(images), expected, rtol=1e-4, atol=1e-4)

    torch.save(timm.create_model('test_vit2').state_dict(), path)
    with pytest.raises(ValueError, match='lacks .* tensors of test_vit, such as'):
        generator.init_weights()
    tensors = full.state_dict()
    del tensors['blocks.0.attn.qkv.weight']
    torch.save(tensors, path)
    with pytest.raises(ValueError, match=r"lacks 1 tensors of test_vit, such as \['blocks.0"):
        generator.init_weights()


def test_published_weights_are_asked_of_timm(monkeypatch):
    create, asked = timm.create_model, []

    def create_model(name, pretrained=False, **options):
        asked.append(pretrained)
        network = create(name, **options)
        if pretrained:
            torch.nn.init.constant_(network.model.cls_token, 7.0)
        return network

    monkeypatch.setattr(timm, 'create_model', create_model)
    generator = target(weights='pretrained')
    assert asked == [False]
    generator.init_weights()
    assert asked == [False, True]
    assert (generator.network.model.cls_token == 7).all()


def test_the_algorithm_tells_how_images_are_normalised():
    generator = build_model(CONFIG).target_generator
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    pixels = torch.rand(3)
    images = (255 * pixels - torch.tensor(MEAN)) / torch.tensor(STD)
    seen = images * generator.scale.flatten() + generator.shift.flatten()
    torch.testing.assert_close(seen, (pixels - mean) / std)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(name='resnet81'), "name='resnet81' is not a network of timm: did you mean 'resnet"),
        (dict(layers=7), r'layers=\[7\] do not fit resnet18'),
        (dict(layers=[2, 1]), r'layers=\[2, 1\] must be in ascending'),
        (dict(layers=[-2, 1]), r'layers=\[-2, 1\] must be in ascending'),
        (dict(image_mean=[0, 0, 0]), 'image_mean=.* must be .*model.data_preprocessor.mean'),
    ],
)
def test_wrong_options_are_found_before_a_training(options, message):
    cfg = Config.fromfile(f'configs/{CONFIG}')
    cfg.model.target_generator.update(options)
    with pytest.raises(ConfigError, match=message):
        validate_config(cfg)


def test_other_images_are_refused():
    with pytest.raises(ValueError, match='resnet18 reads 3 channels, but the images have 4'):
        target('resnet18').channels(4)
    with pytest.raises(ValueError, match='beit_base_patch16_224 reads images of .224, 224. px'):
        target('beit_base_patch16_224', layers=0)(torch.zeros(1, 3, 64, 64))

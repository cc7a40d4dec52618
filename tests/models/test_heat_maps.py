"""Heat maps of every kind of backbone, compared with a second computation."""

import pytest
import torch
from mmpretrain.models import MoCoV3ViT
from mmpretrain.models.backbones import ResNet, SwinTransformer, VisionTransformer
from scipy.ndimage import convolve

from mmmask.models import MaskedSwinTransformer, MaskedVisionTransformer
from mmmask.models.heat_maps import heat_map

ARCH = dict(embed_dims=32, num_layers=3, num_heads=4, feedforward_channels=64)
VIT = dict(arch=ARCH, img_size=32, patch_size=8)
SWIN = dict(
    arch=dict(embed_dims=16, depths=[1, 1, 2, 1], num_heads=[1, 2, 2, 2]),
    img_size=64,
    patch_size=2,
    window_size=2,
)


def images(*size):
    return torch.randn(3, 3, *size, generator=torch.Generator().manual_seed(0))


def vision_transformer(kind=MaskedVisionTransformer, **kwargs):
    torch.manual_seed(0)
    backbone = kind(**VIT, **kwargs)
    for parameter in backbone.parameters():  # no zero biases and unit norms
        parameter.data += 0.1 * torch.randn_like(parameter)
    backbone.eval()  # which does not return it
    return backbone


def last_tokens(backbone, inputs):
    """(B, 1+N, D) before and after the last block, by running the blocks one by one."""
    tokens, _ = backbone.patch_embed(inputs)
    tokens = torch.cat([backbone.cls_token.expand(len(inputs), -1, -1), tokens], dim=1)
    tokens = tokens + backbone.pos_embed
    for layer in backbone.layers[:-1]:
        tokens = layer(tokens)
    return tokens, backbone.layers[-1](tokens)


@pytest.mark.parametrize('kind', [MaskedVisionTransformer, VisionTransformer, MoCoV3ViT])
def test_class_attention(kind):
    """The map equals the attention probabilities of PyTorch."""
    backbone, inputs = vision_transformer(kind), images(32, 32)
    with torch.no_grad():
        block = backbone.layers[-1]
        tokens = block.ln1(last_tokens(backbone, inputs)[0])
        weight, bias = block.attn.qkv.weight, block.attn.qkv.bias
        _, probabilities = torch.nn.functional.multi_head_attention_forward(
            *[tokens.transpose(0, 1)] * 3,
            *(32, 4, weight, bias, None, None, False, 0.0),
            *(block.attn.proj.weight, block.attn.proj.bias),
            training=False,
        )
    expected = probabilities[:, 0, 1:].reshape(3, 4, 4)
    maps = heat_map(backbone, inputs, 'cls_attn')
    torch.testing.assert_close(maps, expected)
    assert (maps.sum(dim=(1, 2)) < 1).all()  # the rest is attention to the class token


def test_features_of_a_vision_transformer_are_those_before_the_final_norm():
    backbone, inputs = vision_transformer(), images(32, 32)
    with torch.no_grad():
        tokens = last_tokens(backbone, inputs)[1][:, 1:]
        normed = backbone(inputs)[-1][:, 1:]
    norms, sums = heat_map(backbone, inputs, 'feat_norm'), heat_map(backbone, inputs, 'feat_sum')
    torch.testing.assert_close(norms, tokens.norm(dim=2).reshape(3, 4, 4))
    torch.testing.assert_close(sums, tokens.sum(dim=2).reshape(3, 4, 4))
    torch.testing.assert_close(normed, backbone.ln1(tokens), atol=1e-5, rtol=1e-5)


def test_the_sum_of_normed_features_is_constant():
    tokens = torch.nn.LayerNorm(768)(torch.randn(2, 196, 768) * 5)
    assert tokens.sum(dim=2).abs().max() < 1e-3


def test_grids_may_be_oblong_and_differ_from_img_size():
    backbone, inputs = vision_transformer(), images(24, 48)
    maps = heat_map(backbone, inputs, 'feat_sum')
    with torch.no_grad():
        raw = backbone.get_submodule('layers.2')  # the last block's output, before its norm
        seen = []
        handle = raw.register_forward_hook(lambda module, args, output: seen.append(output))
        backbone(inputs)
        handle.remove()
    torch.testing.assert_close(maps, seen[0][:, 1:].sum(dim=2).reshape(3, 3, 6))


@pytest.mark.parametrize('kind', [MaskedSwinTransformer, SwinTransformer])
def test_swin(kind):
    torch.manual_seed(0)
    backbone, inputs = kind(**SWIN), images(64, 64)
    backbone.eval()
    features = backbone(inputs)[-1].detach()
    norm = backbone.norm3
    assert torch.equal(norm.weight, torch.ones(128)) and not norm.bias.any()
    maps = heat_map(backbone, inputs, 'feat_norm')
    assert maps.shape == features[:, 0].shape == (3, 4, 4)
    # Features before a LayerNorm, from those after it and their mean and spread.
    with torch.no_grad():
        sums = heat_map(backbone, inputs, 'feat_sum')
        spread = ((maps**2 - sums**2 / 128) / 128).sqrt()
        restored = features * spread[:, None] + sums[:, None] / 128
    torch.testing.assert_close(restored.norm(dim=1), maps, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(restored.sum(dim=1), sums, atol=1e-3, rtol=1e-3)


def test_resnet():
    backbone = ResNet(18, stem_channels=8, base_channels=8)
    backbone.eval()
    inputs = images(64, 64)
    features = backbone(inputs)[-1].detach()
    assert torch.equal(heat_map(backbone, inputs, 'feat_sum'), features.sum(dim=1))
    assert torch.equal(heat_map(backbone, inputs, 'feat_norm'), features.norm(dim=1))
    assert (features >= 0).all() and features.shape[2:] == (2, 2)


def test_smoothing_is_the_mean_of_existing_neighbours():
    backbone, inputs = vision_transformer(), images(32, 32)
    plain = heat_map(backbone, inputs)
    smooth = heat_map(backbone, inputs, smooth=True)
    window = torch.ones(3, 3).numpy()
    for one, mean in zip(plain.numpy(), smooth.numpy(), strict=True):
        count = convolve(one * 0 + 1, window, mode='constant')
        expected = torch.from_numpy(convolve(one, window, mode='constant') / count)
        torch.testing.assert_close(torch.from_numpy(mean), expected)


def test_networks_without_the_map_are_errors():
    with pytest.raises(ValueError, match="'cls_attn' needs a vision .* ResNet is not: .*feat_sum"):
        heat_map(ResNet(18), images(32, 32))
    without = VisionTransformer(**VIT, with_cls_token=False, out_type='featmap')
    with pytest.raises(ValueError, match='with a class token'):
        heat_map(without, images(32, 32))
    with pytest.raises(ValueError, match="heat_map='attention' is not one of"):
        heat_map(without, images(32, 32), 'attention')
    flat = torch.nn.Sequential(torch.nn.Flatten())
    with pytest.raises(TypeError, match=r'Sequential returns features of shape \(3, 3072\)'):
        heat_map(flat, images(32, 32), 'feat_sum')

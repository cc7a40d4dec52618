"""The detection backbone and the pyramids, compared with the networks that they replace."""

import pytest
import torch
import torch.nn.functional as F
from conftest import build_model
from mmpretrain.models.backbones import VisionTransformer, ViTSAM
from torch import nn

from mmmask.checkpoints import load_backbone
from mmmask.models import SimpleFeaturePyramid, WindowVisionTransformer
from mmmask.models.necks import average_pool_pyramid

ARCH = dict(embed_dims=48, num_layers=3, num_heads=3, feedforward_channels=96)
WINDOWS = dict(ARCH, global_attn_indexes=[1])


def fill(network, seed=0):
    """Random values for all parameters, including those that start at zero."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.2
    network.eval()
    return network


@pytest.mark.parametrize('size', [(96, 96), (64, 112)])
def test_equals_the_explicit_attention_of_its_parent(size):
    options = dict(img_size=96, patch_size=8, window_size=5, out_indices=[0, 1, 2])
    explicit = fill(ViTSAM(arch=WINDOWS, out_channels=0, **options))
    fused = WindowVisionTransformer(arch=WINDOWS, **options)
    fused.eval()
    fused.load_state_dict(explicit.state_dict())
    images = torch.randn(2, 3, *size)
    with torch.no_grad():
        for ours, theirs in zip(fused(images), explicit(images), strict=True):
            assert ours.shape == (2, 48, size[0] // 8, size[1] // 8)
            torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_all_global_and_without_positions_is_plain_attention_over_patches():
    """Without class token a plain transformer sees the same tokens."""
    network = fill(
        WindowVisionTransformer(
            arch=dict(ARCH, global_attn_indexes=[0, 1, 2]), img_size=(48, 80), patch_size=16
        )
    )
    for layer in network.layers:
        nn.init.zeros_(layer.attn.rel_pos_h)
        nn.init.zeros_(layer.attn.rel_pos_w)
    plain = VisionTransformer(
        arch=ARCH, img_size=(48, 80), patch_size=16, with_cls_token=False, out_type='featmap',
        final_norm=False,
    )  # fmt: skip
    plain.eval()
    tensors = {n: t for n, t in network.state_dict().items() if 'rel_pos' not in n}
    tensors['pos_embed'] = tensors['pos_embed'].flatten(1, 2)
    plain.load_state_dict(tensors)
    images = torch.randn(2, 3, 48, 80)
    with torch.no_grad():
        torch.testing.assert_close(network(images), plain(images), atol=1e-5, rtol=1e-4)


def test_gradients_with_and_without_recomputation_and_drop_path_on_both_branches():
    images = torch.randn(4, 3, 48, 48)
    gradients = []
    for with_cp in (False, True):
        network = fill(
            WindowVisionTransformer(
                arch=WINDOWS, img_size=48, patch_size=8, window_size=4, with_cp=with_cp
            )
        )
        network(images)[0].square().mean().backward()
        assert all(p.grad is not None and p.grad.abs().max() > 0 for p in network.parameters())
        gradients.append([p.grad for p in network.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-4)

    # An image that is dropped in both branches of all blocks does not change.
    network = WindowVisionTransformer(
        arch=WINDOWS, img_size=48, patch_size=8, window_size=4, drop_path_rate=0.999_999
    )
    for layer in network.layers[:1]:
        layer.ffn.dropout_layer.drop_prob = 0.999_999
    embedded = network.patch_embed(images)[0].unflatten(1, (6, 6)) + network.pos_embed
    network.layers = network.layers[:1]
    network.out_indices = [0]
    torch.testing.assert_close(network(images)[0], embedded.permute(0, 3, 1, 2))


def test_a_pre_trained_encoder_fills_it_and_its_class_entry_is_left_out(tmp_path):
    model = build_model('demo/mae_vit-tiny_digits.py')
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'a.pth')
    arch = dict(
        embed_dims=128, num_layers=6, num_heads=4, feedforward_channels=512,
        global_attn_indexes=[2, 5],
    )  # fmt: skip
    network = WindowVisionTransformer(arch=arch, img_size=(96, 160), patch_size=8)
    summary = load_backbone(network, tmp_path / 'a.pth')
    assert "['cls_token', 'ln1.bias', 'ln1.weight']" in summary
    table = model.backbone.pos_embed[:, 1:].unflatten(1, (8, 8)).permute(0, 3, 1, 2)
    expected = F.interpolate(table, size=(12, 20), mode='bicubic', align_corners=False)
    torch.testing.assert_close(network.pos_embed.permute(0, 3, 1, 2), expected)
    ours, theirs = dict(network.named_parameters()), dict(model.backbone.named_parameters())
    same = [n for n in ours if n in theirs and n != 'pos_embed']
    assert len(same) == 2 + 6 * 12
    assert all(torch.equal(ours[name], theirs[name]) for name in same)
    assert all(p.abs().max() == 0 for n, p in ours.items() if 'rel_pos' in n)


def test_pyramid_levels_by_hand():
    torch.manual_seed(0)
    neck = SimpleFeaturePyramid(8, 16, scales=(4, 2, 1, 0.5, 0.125))
    maps = torch.randn(2, 8, 8, 16)
    levels = neck((torch.zeros(2, 8, 8, 16), maps))
    assert [tuple(level.shape[2:]) for level in levels] == [
        (32, 64), (16, 32), (8, 16), (4, 8), (1, 2), (1, 1)
    ]  # fmt: skip

    def norm(x, layer):
        mean, variance = x.mean(1, keepdim=True), x.var(1, unbiased=False, keepdim=True)
        x = (x - mean) / (variance + 1e-6).sqrt()
        return x * layer.weight[:, None, None] + layer.bias[:, None, None]

    def tail(x, level):
        for conv in level[-2:]:
            x = F.conv2d(x, conv.conv.weight, padding=conv.conv.weight.shape[-1] // 2)
            x = norm(x, conv.norm)
        return x

    first = neck.levels[0]
    x = F.conv_transpose2d(maps, first[0].weight, first[0].bias, stride=2)
    x = F.gelu(norm(x, first[1]))
    x = F.conv_transpose2d(x, first[3].weight, first[3].bias, stride=2)
    assert x.shape[1] == 2
    torch.testing.assert_close(levels[0], tail(x, first), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(levels[2], tail(maps, neck.levels[2]), atol=1e-5, rtol=1e-4)
    pooled = maps.unflatten(3, (8, 2)).unflatten(2, (4, 2)).amax((3, 5))
    torch.testing.assert_close(levels[3], tail(pooled, neck.levels[3]), atol=1e-5, rtol=1e-4)
    assert torch.equal(levels[5], levels[4][:, :, ::2, ::2])
    assert not any('conv.bias' in name for name, _ in neck.named_parameters())
    with pytest.raises(ValueError, match='scale=3 is not one of'):
        SimpleFeaturePyramid(8, scales=(3,))


def test_pyramid_of_vit_b_has_the_width_and_the_size_of_the_reference():
    with torch.device('meta'):
        neck = SimpleFeaturePyramid(768)
    # Two or one transposed convolutions with bias, LN between, then 1x1 and 3x3 with LN.
    fours = (768 * 384 * 4 + 384) + 2 * 384 + (384 * 192 * 4 + 192)
    twos = 768 * 384 * 4 + 384
    ends = sum(width * 256 + 256 * 256 * 9 + 4 * 256 for width in (192, 384, 768, 768))
    assert sum(p.numel() for p in neck.parameters()) == fours + twos + ends


def test_the_coarse_level_of_segmentation_is_an_average():
    neck = average_pool_pyramid(4, norm_cfg=dict(type='BN'))
    maps = [torch.randn(1, 4, 4, 6) for _ in range(4)]
    levels = neck(maps)
    assert [tuple(level.shape[2:]) for level in levels] == [(16, 24), (8, 12), (4, 6), (2, 3)]
    expected = maps[3].unflatten(3, (3, 2)).unflatten(2, (2, 2)).mean((3, 5))
    torch.testing.assert_close(levels[3], expected)
    assert torch.equal(levels[2], maps[2])

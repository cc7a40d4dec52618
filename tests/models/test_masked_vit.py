import pytest
import torch
from mmpretrain.models.backbones import VisionTransformer

from mmmask.masking import RandomMask, keep_all, mask_from_scores
from mmmask.models import MaskedVisionTransformer

ARCH = dict(embed_dims=32, num_layers=4, num_heads=4, feedforward_channels=64)
# (img_size of the model, size of the images)
SIZES = [(160, 160), (192, 192), (224, 224), (384, 384), ((64, 96), (64, 96)), (64, (96, 32))]


def build(img_size, **kwargs):
    torch.manual_seed(0)
    backbone = MaskedVisionTransformer(ARCH, img_size=img_size, out_indices=[1, 3], **kwargs)
    backbone.init_weights()
    backbone.eval()  # mmpretrain's backbones return None here
    return backbone


def images_of(size):
    return torch.randn(2, 3, *((size, size) if isinstance(size, int) else size))


@pytest.mark.parametrize(('img_size', 'size'), SIZES)
@pytest.mark.parametrize('final_norm', [True, False])
@pytest.mark.parametrize('class_token', [True, False])
def test_nothing_hidden_equals_mmpretrain_bit_by_bit(img_size, size, final_norm, class_token):
    options = dict(final_norm=final_norm, with_cls_token=class_token)
    ours = build(img_size, **options)
    plain = VisionTransformer(
        ARCH, img_size=img_size, out_indices=[1, 3], out_type='raw', **options
    )
    plain.eval()
    plain.load_state_dict(ours.state_dict(), strict=True)
    images = images_of(size)
    grid = ours.grid(images)
    everything = ours(images, keep_all(2, grid))
    for tap, whole, expected in zip(ours(images), everything, plain(images), strict=True):
        assert torch.equal(tap, expected)
        assert torch.equal(whole, expected)


def test_a_permutation_of_all_patches_permutes_the_features():
    ours = build(64)
    images = images_of(64)
    mask = mask_from_scores(torch.rand(2, 16), num_keep=16)
    tokens, shuffled = ours(images)[-1], ours(images, mask)[-1]
    expected = tokens[:, 1:].gather(1, mask.ids_keep.unsqueeze(-1).expand(-1, -1, 32))
    torch.testing.assert_close(shuffled[:, 1:], expected, atol=1e-5, rtol=1e-4)


def test_hidden_pixels_do_not_reach_the_encoder():
    ours = build((64, 96))
    images = images_of((64, 96))
    mask = RandomMask(0.75)(2, (4, 6))
    hidden = mask.hidden.view(2, 1, 4, 6).repeat_interleave(16, 2).repeat_interleave(16, 3)
    vandalised = torch.where(hidden, torch.full_like(images, 1e3), images)
    for tap, expected in zip(ours(vandalised, mask), ours(images, mask), strict=True):
        assert torch.equal(tap, expected)
    assert tap.shape == (2, 1 + 6, 32)


def test_tokens_keep_their_own_position():
    """With constant pixels, patches differ in the position table only."""
    ours = build(64)
    for layer in ours.layers:
        torch.nn.init.zeros_(layer.attn.proj.weight)
        torch.nn.init.zeros_(layer.ffn.layers[1].weight)
    mask = mask_from_scores(torch.rand(1, 16), num_keep=5)
    tap = ours(torch.ones(1, 3, 64, 64), mask)[0]
    table = ours.pos_embed[0, 1:][mask.ids_keep[0]]
    difference = tap[0, 1:] - table
    torch.testing.assert_close(difference, difference[:1].expand_as(difference))


def test_initialisation_is_that_of_mae():
    backbone = MaskedVisionTransformer('deit-tiny')
    backbone.init_weights()
    qkv = backbone.layers[0].attn.qkv
    bound = (6 / (192 + 576)) ** 0.5
    assert qkv.weight.abs().max() <= bound
    assert qkv.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)
    assert qkv.bias.abs().max() == 0
    assert backbone.layers[3].ffn.layers[1].bias.abs().max() == 0
    projection = backbone.patch_embed.projection.weight
    assert projection.abs().max() <= (6 / (192 + 768)) ** 0.5
    assert backbone.cls_token.std().item() == pytest.approx(0.02, rel=0.2)
    assert not backbone.pos_embed.requires_grad


def test_a_size_that_patches_do_not_divide_is_named():
    ours = build(64)
    with pytest.raises(ValueError, match='images of 64x70 px cannot be cut into patches of 16 px'):
        ours(torch.zeros(1, 3, 64, 70), keep_all(1, (4, 4)))


def test_layer_depths_run_from_the_embedding_to_the_last_block():
    ours = build(64)
    assert ours.get_layer_depth('backbone.pos_embed', 'backbone.') == (0, 6)
    assert ours.get_layer_depth('backbone.layers.2.ln1.weight', 'backbone.') == (3, 6)
    assert ours.get_layer_depth('neck.embed.weight', 'backbone.') == (5, 6)

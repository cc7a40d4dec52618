"""The parser reads what the blocks of the encoder compute."""

import pytest
import torch
from torch import nn

from mmmask.models import EncoderParser, MaskedVisionTransformer
from mmmask.models.vit import attention_probabilities, run_with_attention

ARCH = dict(embed_dims=24, num_layers=4, num_heads=3, feedforward_channels=48)


def build_encoder(**kwargs):
    torch.manual_seed(0)
    encoder = MaskedVisionTransformer(arch=ARCH, img_size=32, patch_size=8, **kwargs)
    encoder.init_weights()
    return encoder


@pytest.fixture
def encoder():
    return build_encoder()


@pytest.fixture
def images():
    return torch.randn(5, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def attention_by_fused_kernel(encoder, images):
    """(B, C, H, W) -> one (B, heads, T, T) per block: what the fused kernel does to unit vectors.

    With the identity as values, attention's output is its probabilities.
    """
    maps = []

    def record(query, key, value, **kwargs):
        identity = torch.eye(key.shape[2]).expand(*key.shape[:2], -1, -1)
        kernel = nn.functional.scaled_dot_product_attention
        maps.append(kernel(query, key, identity))
        return kernel(query, key, value)

    for layer in encoder.layers:
        layer.attn.scaled_dot_product_attention = record
    with torch.no_grad():
        encoder(images)
    return maps


@pytest.mark.parametrize(
    'options', [{}, dict(layer_scale_init_value=0.5), dict(drop_path_rate=0.3, drop_rate=0.2)]
)
def test_run_with_attention_equals_the_regular_block(options, images):
    encoder = build_encoder(**options)
    encoder.eval()
    tokens = torch.randn(3, 17, 24, generator=torch.Generator().manual_seed(2))
    for layer in encoder.layers:
        ours, probabilities = run_with_attention(layer, tokens)
        theirs = layer(tokens)
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)
        torch.testing.assert_close(probabilities.sum(-1), torch.ones(3, 3, 17))
        tokens = theirs


def test_attention_by_hand():
    """One head of width 1, queries 0 and ln 3, keys 1 and 0: odds 1:1 and 3:1."""
    attention = nn.Module()
    attention.num_heads, attention.head_dims, attention.qkv = 1, 1, nn.Identity()
    qkv = torch.tensor([[[0.0, 1.0, 5.0], [torch.log(torch.tensor(3.0)), 0.0, 7.0]]])
    probabilities, value = attention_probabilities(attention, qkv)
    torch.testing.assert_close(probabilities[0, 0], torch.tensor([[0.5, 0.5], [0.75, 0.25]]))
    assert value.flatten().tolist() == [5, 7]


@pytest.mark.parametrize(
    ('layers', 'indices'),
    [(None, [0, 1, 2, 3]), (2, [0, 1]), (-1, [3]), (-2, [2, 3]), ([1, -1], [1, 3]), ([2], [2])],
)
@pytest.mark.parametrize('momentum', [None, 0.9])
def test_attention_is_summed_over_chosen_layers_and_all_heads(
    encoder, images, layers, indices, momentum
):
    parser = EncoderParser(encoder, momentum=momentum, layers=layers)
    evidence = parser(images)
    maps = attention_by_fused_kernel(encoder, images)
    expected = sum(maps[index].sum(1) for index in indices)[:, 1:, 1:]
    torch.testing.assert_close(evidence, expected, atol=1e-5, rtol=0)


def test_other_sizes_and_oblong_images(encoder):
    images = torch.randn(2, 3, 24, 56, generator=torch.Generator().manual_seed(1))
    evidence = EncoderParser(encoder)(images)
    expected = sum(maps.sum(1) for maps in attention_by_fused_kernel(encoder, images))
    assert evidence.shape == (2, 21, 21)
    torch.testing.assert_close(evidence, expected[:, 1:, 1:], atol=1e-5, rtol=0)


def test_chunks_change_nothing(encoder, images):
    whole = EncoderParser(encoder)(images)
    parser = EncoderParser(encoder)
    parser.chunk_size = 2
    torch.testing.assert_close(parser(images), whole)


def test_features_are_the_patches_of_the_last_layer(encoder, images):
    features = EncoderParser(encoder, 'features')(images)
    with torch.no_grad():
        assert torch.equal(features, encoder(images)[-1][:, 1:])


def test_features_of_a_map():
    """An encoder that returns a (B, C, h, w) map, as hierarchical networks do."""
    encoder = nn.Conv2d(3, 6, 8, stride=8)
    encoder.grid = lambda images: (images.shape[2] // 8, images.shape[3] // 8)
    encoder.forward = lambda images: (nn.Conv2d.forward(encoder, images),)
    images = torch.randn(2, 3, 16, 24)
    features = EncoderParser(encoder, 'features', momentum=None)(images)
    with torch.no_grad():
        expected = encoder(images)[0]
    assert torch.equal(features[1, 4], expected[1, :, 1, 1])
    encoder.grid = lambda images: (4, 4)
    with pytest.raises(ValueError, match='6 positions but the grid of masks is 4x4.*last stage'):
        EncoderParser(encoder, 'features', momentum=None)(images)


def test_it_reads_the_copy_and_not_the_online_encoder(encoder, images):
    parser = EncoderParser(encoder, momentum=0.5)
    before = parser(images)
    with torch.no_grad():
        encoder.layers[0].attn.qkv.weight.mul_(3)
    assert torch.equal(parser(images), before)
    assert not torch.equal(EncoderParser(encoder, momentum=None)(images), before)
    parser.init_weights()
    assert torch.equal(parser(images), EncoderParser(encoder, momentum=None)(images))


def test_online_patches_are_embedded_by_the_online_encoder(encoder, images):
    parser = EncoderParser(encoder, momentum=0.5, online_patches=True)
    before = parser(images)
    with torch.no_grad():
        encoder.layers[0].attn.qkv.weight.mul_(3)
        encoder.cls_token.add_(1)
    assert torch.equal(parser(images), before)
    with torch.no_grad():
        encoder.patch_embed.projection.weight.mul_(3)
    after = parser(images)
    assert not torch.equal(after, before)
    assert not after.requires_grad


def test_the_copy_always_evaluates_and_the_online_encoder_may_not_drop(images):
    encoder = build_encoder(drop_path_rate=0.5)
    parser = EncoderParser(encoder, momentum=0.9).train()
    assert not parser.encoder.training and encoder.training
    assert torch.equal(parser(images), parser(images))
    with pytest.raises(ValueError, match='momentum=None.*dropout.*set momentum'):
        EncoderParser(encoder, momentum=None)


def test_attention_stays_in_full_precision_under_autocast(encoder, images):
    parser = EncoderParser(encoder)
    expected = parser(images)
    with torch.autocast('cpu', torch.bfloat16):
        evidence = parser(images)
    assert evidence.dtype == torch.float32
    torch.testing.assert_close(evidence, expected, atol=0.05, rtol=0.05)
    assert not torch.equal(evidence, expected)  # the rest of the encoder runs in bf16


def test_reading_the_online_encoder_under_autocast_leaves_its_gradients(encoder, images):
    """Autocast caches cast weights; a weight cast without gradient must not be reused."""
    parser = EncoderParser(encoder, momentum=None)
    gradients = []
    for read in (False, True):
        encoder.zero_grad()
        with torch.autocast('cpu', torch.bfloat16):
            if read:
                parser(images)
            encoder(images)[-1].square().sum().backward()
        trained = {n: p for n, p in encoder.named_parameters() if p.grad is not None}
        gradients.append({name: parameter.grad.clone() for name, parameter in trained.items()})
    assert gradients[0].keys() == gradients[1].keys() and len(gradients[0]) > 40
    for name, gradient in gradients[0].items():
        assert torch.equal(gradient, gradients[1][name]), name


def test_the_online_encoder_is_no_part_of_the_parser(encoder):
    assert not EncoderParser(encoder, momentum=None).state_dict()
    names = EncoderParser(encoder).state_dict()
    assert all(name.startswith('copy.') for name in names)
    assert len(names) == len(encoder.state_dict()) + 1


@pytest.mark.parametrize('layers', [0, 5, -5, [4], []])
def test_layers_that_do_not_exist_are_named(encoder, layers):
    with pytest.raises(ValueError, match='encoder with 4: use None'):
        EncoderParser(encoder, layers=layers)


def test_unknown_evidence_is_named(encoder):
    with pytest.raises(ValueError, match="evidence_kind='gradients'"):
        EncoderParser(encoder, 'gradients')


def test_layers_do_not_choose_features(encoder):
    with pytest.raises(ValueError, match='layers=2 chooses attention'):
        EncoderParser(encoder, 'features', layers=2)

import pytest
import torch
from torch import nn

from mmmask.layers import sincos_position_embedding
from mmmask.masking import RandomMask, gather_tokens
from mmmask.models import MaskedRegressionHead, MultiScaleDecoder, ScaleDecoder, TokenDecoder

GRID = (4, 6)


def fixed(decoder):
    torch.manual_seed(0)
    decoder.init_weights()
    return decoder.eval()


def identity_blocks(decoder):
    """Let blocks return their input, so that only the arrangement of tokens is tested."""
    for layer in decoder.layers:
        nn.init.zeros_(layer.attn.proj.weight)
        nn.init.zeros_(layer.ffn.layers[1].weight)
    return decoder


@pytest.mark.parametrize('num_extra', [0, 1])
def test_tokens_are_restored_and_mask_tokens_fill_the_rest(num_extra):
    decoder = identity_blocks(fixed(TokenDecoder(8, 5, embed_dims=16, depth=2, num_heads=2)))
    mask = RandomMask(0.5)(2, GRID)
    patches = torch.randn(2, 24, 8)
    tokens = torch.cat([torch.randn(2, num_extra, 8), gather_tokens(patches, mask.ids_keep)], 1)
    filled = torch.where(mask.hidden.unsqueeze(-1), decoder.mask_token, decoder.embed(patches))
    filled = filled + sincos_position_embedding(GRID, 16)
    torch.testing.assert_close(decoder((tokens,), mask), decoder.project(decoder.norm(filled)))


def test_the_class_token_takes_part_in_the_attention():
    decoder = fixed(TokenDecoder(8, 5, embed_dims=16, depth=1, num_heads=2))
    mask = RandomMask(0.5)(1, GRID)
    tokens = torch.randn(1, 13, 8)
    other = tokens.clone()
    other[:, 0] += 1
    assert not torch.allclose(decoder((tokens,), mask), decoder((other,), mask))


@pytest.mark.parametrize('scale', [4, 2, 1, 0.5])
def test_scale_heads_equal_plain_convolutions(scale):
    """Compared with (transposed) convolutions and pooling on channels-first maps."""
    decoder = fixed(ScaleDecoder(8, 5, scale, embed_dims=16, num_heads=2))
    mask, tap = RandomMask(0.5)(2, GRID), torch.randn(2, 13, 8)
    maps = decoder.decode(decoder.input_norm(tap), mask).unflatten(1, GRID).permute(0, 3, 1, 2)
    up, project = nn.ConvTranspose2d.forward, decoder.project
    if scale == 4:
        maps = up(project[0], maps)
        maps = project[1](maps.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        maps = up(project[3], nn.functional.gelu(maps))
    elif scale == 2:
        maps = up(project[0], maps)
    elif scale == 0.5:
        maps = nn.functional.avg_pool2d(maps, 2)
    weight = project[-1].weight[..., None, None]
    expected = nn.functional.conv2d(maps, weight, project[-1].bias).flatten(2).transpose(1, 2)
    torch.testing.assert_close(decoder((tap,), mask), expected, atol=1e-5, rtol=1e-4)


def test_each_tap_reaches_its_own_decoder_only():
    neck = fixed(
        MultiScaleDecoder(
            [
                dict(type='mmmask.ScaleDecoder', scale=scale, embed_dims=16, num_heads=2)
                for scale in (2, 1)
            ],
            in_channels=(8, 8),
            out_channels=(3, 3),
        )
    )
    mask = RandomMask(0.5)(1, GRID)
    taps = [torch.randn(1, 13, 8, requires_grad=True) for _ in range(2)]
    fine, coarse = neck(taps, mask)
    assert fine.shape == (1, 96, 3)
    assert coarse.shape == (1, 24, 3)
    fine.sum().backward()
    assert taps[0].grad.abs().sum() > 0
    assert taps[1].grad is None
    with pytest.raises(ValueError, match='2 decoders cannot read 1 feature maps'):
        neck(taps[:1], mask)


def test_projections_keep_pytorchs_initialisation():
    decoder = fixed(ScaleDecoder(64, 1000, 1, embed_dims=64))
    weight = decoder.project[-1].weight
    # default: uniform within 1/sqrt(64); Xavier would give sqrt(6 / 1064) = 0.075
    assert weight.abs().max().item() == pytest.approx(0.125, rel=0.01)
    assert decoder.mask_token.std().item() == pytest.approx(0.02, rel=0.4)


def test_wrong_scales_and_widths_are_named():
    with pytest.raises(ValueError, match=r'scale=3 is not one of \[0.5, 1, 2, 4\]'):
        ScaleDecoder(8, 5, 3)
    with pytest.raises(ValueError, match='embed_dims=18 must be divisible by num_heads=4 and by 4'):
        TokenDecoder(8, 5, embed_dims=18, num_heads=4)


def test_a_target_of_another_shape_is_an_error():
    mask = RandomMask(0.5)(1, GRID)
    with pytest.raises(
        ValueError, match=r'prediction is \(1, 24, 5\) but the target is \(1, 24, 6\)'
    ):
        MaskedRegressionHead()(torch.zeros(1, 24, 5), torch.zeros(1, 24, 6), mask)
    with pytest.raises(ValueError, match='1 predictions but 2 targets'):
        MaskedRegressionHead()([torch.zeros(1, 24, 5)], [torch.zeros(1, 24, 5)] * 2, mask)

"""CrossMAE: what is predicted, what a prediction sees, and the arithmetic of the decoder."""

import numpy as np
import pytest
import torch
from conftest import build_model, trainable
from mmengine.config import Config
from torch import nn

from mmmask.masking import (
    RandomMask,
    SharedUnitMask,
    mask_from_scores,
    predict_part,
    scatter_tokens,
)
from mmmask.models import CrossAttentionDecoder, MaskedRegressionHead

CONFIG = 'demo/crossmae_vit-tiny_digits.py'


@pytest.fixture
def mask():
    return predict_part(RandomMask(0.75)(4, (8, 8)), 0.25)


def test_a_part_of_the_hidden_patches_is_predicted(mask):
    assert mask.hidden.sum(dim=1).tolist() == [48] * 4
    assert mask.predicted.sum(dim=1).tolist() == [16] * 4
    assert not (mask.predicted & ~mask.hidden).any()
    listed = [sorted(row) for row in mask.ids_predict[:, 0].tolist()]
    assert listed == [row.nonzero().flatten().tolist() for row in mask.predicted]


def test_every_hidden_patch_is_predicted_equally_often():
    mask = mask_from_scores(torch.arange(4.0).expand(6000, 4), num_keep=1, grid=(2, 2))
    shares = predict_part(mask, 0.5).predicted.float().mean(dim=0)
    torch.testing.assert_close(shares, torch.tensor([0, 2, 2, 2]) / 3, atol=0.03, rtol=0)


def test_without_a_part_all_hidden_patches_are_predicted(mask):
    whole = mask._replace(ids_predict=None)
    assert torch.equal(whole.predicted, whole.hidden)
    everything = predict_part(mask, 0.75)
    for one in (whole, everything):
        rows = [sorted(row) for row in one.blocks[:, 0].tolist()]
        assert rows == [row.nonzero().flatten().tolist() for row in mask.hidden]


@pytest.mark.parametrize('ratio', [0.0, 0.76, 1.0])
def test_no_more_than_the_hidden_patches(mask, ratio):
    number = round(64 * ratio)
    with pytest.raises(ValueError, match=f'{ratio} predicts {number} of 64 .* 48 are hidden'):
        predict_part(mask, ratio)


def test_a_shared_mask_is_still_known_on_the_host():
    mask = SharedUnitMask(0.75)(2, (4, 4))
    assert predict_part(mask, 0.25).shared_ids == mask.shared_ids == tuple(mask.ids_keep[0])


def test_a_mask_for_more_images_predicts_the_same_patches():
    mask = predict_part(RandomMask(0.75)(1, (4, 4)), 0.25)
    assert torch.equal(mask.expand(3).predicted, mask.predicted.expand(3, -1))


def test_a_patch_of_several_blocks_counts_once(mask):
    """Gradients with overlapping blocks are those of predicting every hidden patch."""
    model = build_model(CONFIG).eval()
    taps = model.backbone(torch.randn(4, 3, 64, 64), mask)
    twice = mask._replace(ids_predict=mask.ids_predict.repeat(1, 2, 1))
    gradients = []
    for one in (twice, mask._replace(ids_predict=None)):
        prediction = model.neck(taps, one)[mask.predicted].square().sum()
        gradients.append(torch.autograd.grad(prediction, model.neck.mask_token, retain_graph=True))
    torch.testing.assert_close(*gradients)


def test_tokens_are_put_in_their_places():
    tokens = torch.tensor([[[1.0], [2.0]], [[3.0], [4.0]]])
    placed = scatter_tokens(tokens, torch.tensor([[3, 0], [1, 2]]), 4)
    assert placed.squeeze(2).tolist() == [[2, 0, 0, 1], [0, 3, 4, 0]]


def test_patches_are_predicted_independently(mask):
    """A patch has the same prediction whichever others are predicted; the rest is zero."""
    model = build_model(CONFIG).eval()
    taps = model.backbone(torch.randn(4, 3, 64, 64), mask)
    part = model.neck(taps, mask)
    whole = model.neck(taps, mask._replace(ids_predict=None))
    torch.testing.assert_close(part[mask.predicted], whole[mask.predicted])
    assert (part[~mask.predicted] == 0).all()
    assert (whole[mask.hidden] != 0).any(dim=-1).all()


def test_the_loss_sees_only_what_is_visible_or_predicted():
    model = build_model(CONFIG).eval()
    images = torch.randn(4, 3, 64, 64)

    def loss(images):
        torch.manual_seed(3)
        return model.loss(images)['loss']

    torch.manual_seed(3)
    mask = model.draw_mask(images)
    predicted = mask.predicted.view(4, 1, 8, 8)
    assert predicted.flatten(1).sum(dim=1).tolist() == [16] * 4
    pixels = nn.functional.interpolate(predicted.float(), scale_factor=8).bool()
    hidden = nn.functional.interpolate(mask.hidden.view(4, 1, 8, 8).float(), scale_factor=8).bool()
    ignored = hidden & ~pixels
    assert loss(images.where(~ignored, torch.randn_like(images))) == loss(images)
    assert loss(images.where(~pixels, torch.randn_like(images))) != loss(images)


def test_the_loss_is_the_mean_over_the_predicted_patches():
    mask = predict_part(mask_from_scores(torch.tensor([[0.0, 1, 2, 3]]), 1, (2, 2)), 0.25)
    (place,) = mask.ids_predict[0, 0].tolist()
    prediction, target = torch.zeros(1, 4, 2), torch.tensor([[[1.0, 3], [2, 2], [0, 4], [5, 1]]])
    loss = MaskedRegressionHead()(prediction, target, mask)['loss']
    assert loss == [5, 4, 8, 13][place]


def test_predict_shows_all_hidden_patches():
    result = build_model(CONFIG).eval()(torch.randn(2, 3, 64, 64), mode='predict')
    assert ((result.prediction[0] != 0).any(dim=-1) == result.mask.hidden).all()


def layer_norm(x, eps=1e-6):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps)


def test_the_arithmetic_of_a_block():
    """A weighted sum of two feature maps, its norm, one head of attention, and the residual."""
    torch.manual_seed(0)
    neck = CrossAttentionDecoder((6, 6), 3, embed_dims=4, depth=1, num_heads=1).double()
    layer, (first, second) = neck.layers[0], torch.randn(2, 1, 5, 6, dtype=torch.float64)
    queries = torch.randn(1, 2, 4, dtype=torch.float64)
    nn.init.normal_(layer.attn.in_proj_bias)
    mixed = neck.mix_taps((first, second))[0]
    result = layer(queries, mixed)

    get = {name: value.detach().numpy() for name, value in layer.named_parameters()}
    (a, b), x = neck.mix.weight[0].tolist(), queries[0].numpy()
    tokens = layer_norm(a * first[0].numpy() + b * second[0].numpy())
    bias = get['attn.in_proj_bias'].reshape(3, 4)
    q = layer_norm(x) @ get['attn.q_proj_weight'].T + bias[0]
    k, v = (
        tokens @ get[f'attn.{name}_proj_weight'].T + bias[row] for name, row in (('k', 1), ('v', 2))
    )
    scores = np.exp(q @ k.T / 2)
    read = scores / scores.sum(-1, keepdims=True) @ v
    x = x + read @ get['attn.out_proj.weight'].T + get['attn.out_proj.bias']
    middle = layer_norm(x) @ get['ffn.layers.0.0.weight'].T + get['ffn.layers.0.0.bias']
    middle = nn.functional.gelu(torch.from_numpy(middle)).numpy()
    x = x + middle @ get['ffn.layers.1.weight'].T + get['ffn.layers.1.bias']
    np.testing.assert_allclose(result[0].detach().numpy(), x, rtol=1e-9, atol=1e-12)


def test_one_feature_map_is_read_by_every_block():
    neck = CrossAttentionDecoder(6, 3, embed_dims=4, depth=3, num_heads=1)
    maps = torch.randn(2, 5, 6)
    assert neck.mix is None
    assert all(one is maps for one in neck.mix_taps((maps,)))


def test_size_of_the_decoder_in_the_recipe(on_meta):
    """Per block: q, k and v, output, MLP, three norms. Then the mix, mask token, norm, output."""
    path = 'configs/crossmae/crossmae_vit-base-p16_8xb512-amp-coslr-800e_in1k.py'
    model = on_meta(Config.fromfile(path).model)
    attention = 512 * 513 + 2 * 512 * 769 + 512 * 513
    block = attention + 2048 * 513 + 512 * 2049 + 4 * 512 + 2 * 768
    assert trainable(model.neck) == 12 * block + 12 * 12 + 512 + 2 * 512 + 768 * 513


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(in_channels=(4, 8)), r'in_channels=\[4, 8\] must be equal'),
        (dict(tokens_have_positions=False), 'this encoder adds none: use a ViT'),
        (dict(out_channels=(3, 3)), 'CrossAttentionDecoder predicts one'),
        (dict(num_heads=3), 'must be divisible by num_heads=3'),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        CrossAttentionDecoder(
            **dict(in_channels=8, out_channels=3, embed_dims=8, num_heads=2) | options
        )

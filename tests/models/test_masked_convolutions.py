import numpy as np
import pytest
import torch
from conftest import ROOT
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmpretrain.models import ConvNeXt, ResNet
from mmpretrain.models.utils import GRN
from torch import nn

from mmmask.masking import RandomMask, gather_positions, hide_positions, keep_all
from mmmask.models import ConvDecoder, MaskedConvNeXt, MaskedResNet
from mmmask.registry import MODELS

RESNET = dict(depth=18, base_channels=8, stem_channels=8, out_indices=(0, 1, 2, 3))
BOTTLENECKS = RESNET | dict(depth=50, deep_stem=True, avg_down=True)
V1 = dict(arch=dict(depths=[1, 1, 2, 1], channels=[8, 12, 16, 24]), out_indices=(0, 1, 2, 3))
V2 = V1 | dict(use_grn=True, layer_scale_init_value=0.0)
NETWORKS = dict(
    resnet=(MaskedResNet, ResNet, RESNET),
    bottlenecks=(MaskedResNet, ResNet, BOTTLENECKS),
    convnext=(MaskedConvNeXt, ConvNeXt, V1 | dict(layer_scale_init_value=1.0)),
    convnext_v2=(MaskedConvNeXt, ConvNeXt, V2),
    convolutions_only=(MaskedConvNeXt, ConvNeXt, V2 | dict(linear_pw_conv=False)),
)
networks = pytest.mark.parametrize('name', NETWORKS)
IMAGES = torch.randn(3, 3, 96, 128, generator=torch.Generator().manual_seed(0))


def build(name, training=True):
    """The network with random parameters, so that nothing is hidden by zeros and ones."""
    torch.manual_seed(0)
    backbone = NETWORKS[name][0](**NETWORKS[name][2])
    backbone.train(training)  # mmpretrain's backbones return None here
    for parameter in backbone.parameters():
        nn.init.normal_(parameter, std=0.3)
    return backbone


def draw(ratio=0.6):
    torch.manual_seed(1)
    return RandomMask(ratio)(len(IMAGES), (3, 4))


def record(backbone, kind, mask):
    """Inputs and outputs of the layers of a kind, in a forward pass with a mask."""
    calls = []
    layers = [module for module in backbone.modules() if isinstance(module, kind)]
    listeners = [
        # Copies, because activations change their inputs in place.
        layer.register_forward_hook(lambda m, x, y: calls.append((m, x[0].clone(), y.clone())))
        for layer in layers
    ]
    backbone(IMAGES, mask)
    for listener in listeners:
        listener.remove()
    assert len(calls) == len(layers) > 0
    return calls


@networks
def test_hidden_positions_are_empty_and_hidden_pixels_have_no_effect(name):
    backbone, mask = build(name), draw()
    others = torch.where(hide_positions(IMAGES, mask) == 0, torch.randn_like(IMAGES) * 9, IMAGES)
    for one, other in zip(backbone(IMAGES, mask), backbone(others, mask), strict=True):
        assert torch.equal(one, other)
        assert torch.equal(one, hide_positions(one, mask))
        assert gather_positions(one, mask).abs().sum(dim=1).min() > 0


@networks
def test_hidden_pixels_get_no_gradient_and_visible_ones_do(name):
    images = IMAGES.clone().requires_grad_()
    mask = draw()
    sum(tap.square().sum() for tap in build(name)(images, mask)).backward()
    assert torch.equal(images.grad, hide_positions(images.grad, mask))
    assert gather_positions(images.grad, mask).abs().sum(dim=1).min() > 0


@networks
def test_nothing_hidden_equals_mmpretrain(name):
    """In any order of the units, in training; state-dict names are equal too."""
    _, plain_class, options = NETWORKS[name]
    options = options | ({} if plain_class is ResNet else dict(gap_before_final_norm=False))
    ours, plain = build(name), plain_class(**options)
    plain.train()
    plain.load_state_dict(ours.state_dict(), strict=True)
    ours.double(), plain.double()  # 50 norms in training magnify the rounding of fp32
    order = torch.randperm(12).expand(3, -1)
    everything = keep_all(3, (3, 4))._replace(ids_keep=order, ids_restore=order.argsort(dim=1))
    maps = ours(IMAGES.double(), everything)
    for one, other in zip(maps, plain(IMAGES.double()), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)
    for (key, one), other in zip(
        ours.state_dict().items(), plain.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5, msg=key)


def places(mask, maps) -> np.ndarray:
    """(B, H, W) bool: the visible positions of maps, by NumPy."""
    visible = ~mask.hidden.numpy().reshape(-1, *mask.grid)
    side = maps.shape[2] // mask.grid[0]
    return visible.repeat(side, 1).repeat(side, 2)


@pytest.mark.parametrize('name', ['resnet', 'bottlenecks'])
def test_batch_norms_equal_numpy_over_visible_positions(name):
    backbone, mask = build(name), draw()
    convolutions = [m for m in backbone.modules() if isinstance(m, nn.Conv2d)]
    inputs = []
    for layer in convolutions:
        layer.register_forward_hook(lambda _, __, maps: inputs.append(maps.detach().numpy()))
    calls = record(backbone, nn.BatchNorm2d, mask)
    assert len(calls) == len(inputs)  # a norm follows every convolution
    for (norm, _, output), maps in zip(calls, inputs, strict=True):
        where = places(mask, maps)
        rows = np.moveaxis(maps, 1, 3)[where].astype(np.float64)  # (positions, C)
        expected = np.zeros(maps.shape)
        normed = (rows - rows.mean(0)) / np.sqrt(rows.var(0) + norm.eps)
        normed = normed * norm.weight.detach().numpy() + norm.bias.detach().numpy()
        np.moveaxis(expected, 1, 3)[where] = normed
        np.testing.assert_allclose(output.detach().numpy(), expected, rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(norm.running_mean, 0.1 * rows.mean(0), rtol=1e-3, atol=1e-4)
        spread = 0.9 + 0.1 * rows.var(0, ddof=1)
        np.testing.assert_allclose(norm.running_var, spread, rtol=1e-3)


def test_layer_norms_and_response_norms_equal_numpy_over_visible_positions():
    backbone, mask = build('convnext_v2'), draw()
    for norm, maps, output in record(backbone, (nn.LayerNorm, GRN), mask):
        maps, output = maps.detach().numpy(), output.detach().numpy()
        channels_last = maps.shape[3] == len(getattr(norm, 'weight', getattr(norm, 'gamma', ())))
        if not channels_last:
            maps, output = np.moveaxis(maps, 1, 3), np.moveaxis(output, 1, 3)
        where = places(mask, np.moveaxis(maps, 3, 1))
        expected = np.zeros(maps.shape)
        for image, visible in enumerate(where):
            rows = maps[image][visible].astype(np.float64)
            if isinstance(norm, GRN):
                response = np.sqrt((rows**2).sum(0))
                response = response / (response.mean() + norm.eps)
                gamma, beta = norm.gamma.detach().numpy(), norm.beta.detach().numpy()
                expected[image][visible] = gamma * rows * response + beta + rows
            else:
                mean, deviation = rows.mean(1, keepdims=True), rows.std(1, keepdims=True)
                weight, bias = norm.weight.detach().numpy(), norm.bias.detach().numpy()
                normed = (rows - mean) / np.sqrt(deviation**2 + norm.eps)
                expected[image][visible] = normed * weight + bias
        np.testing.assert_allclose(output, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize('training', [True, False])
def test_a_mask_of_one_batch_is_forgotten(training):
    backbone = build('resnet', training)
    with pytest.raises(ValueError, match='mask units of 32 px'):
        backbone(IMAGES[..., :90], draw())
    backbone(IMAGES, draw())
    assert backbone(IMAGES)[-1].abs().sum(dim=1).min() > 0


@pytest.mark.parametrize(
    ('kind', 'options', 'message'),
    [
        (MaskedResNet, RESNET | dict(with_cp=True), 'with_cp=True does not work with a mask'),
        (MaskedConvNeXt, V2 | dict(gap_before_final_norm=True), 'pre-training needs maps'),
        (MaskedConvNeXt, V2 | dict(out_indices=(2, 2)), 'must be different numbers from 0 to 3'),
    ],
)
def test_what_does_not_work_is_refused(kind, options, message):
    with pytest.raises(ValueError, match=message):
        kind(**options)


def test_mask_tokens_need_embedded_patches():
    parts = dict(masking=dict(type='RandomMask'), head=dict(type='MaskedRegressionHead'))
    parts |= dict(neck=dict(type='LinearDecoder'), target_generator=dict(type='PixelTarget'))
    with pytest.raises(ValueError, match='embedding, which MaskedResNet does not have: use MAE'):
        MODELS.build(dict(type='SimMIM', backbone=dict(type='MaskedResNet', **RESNET), **parts))


class TestConvDecoder:
    def test_hand_computed(self):
        """A 1x1 convolution of visible features and mask tokens, and another one."""
        decoder = ConvDecoder(2, 3, embed_dims=4, depth=0)
        for parameter in decoder.parameters():
            nn.init.normal_(parameter)
        mask = RandomMask(0.5)(2, (2, 3))
        maps = torch.randn(2, 2, 2, 3)
        first, last = decoder.inputs[0], decoder.project
        for image in range(2):
            for patch in range(6):
                features = maps[image, :, patch // 3, patch % 3]
                if mask.hidden[image, patch]:
                    features = decoder.mask_tokens[0].flatten()
                wide = first.weight[:, :, 0, 0] @ features + first.bias
                expected = last.weight[:, :, 0, 0] @ wide + last.bias
                torch.testing.assert_close(decoder((maps,), mask)[image, patch], expected)

    def test_tokens_of_visible_patches_equal_their_map(self):
        decoder = ConvDecoder(4, 3, embed_dims=8, depth=1)
        decoder.init_weights()
        mask, tokens = RandomMask(0.5)(2, (4, 4)), torch.randn(2, 9, 4)
        maps = torch.zeros(2, 4, 16).scatter(
            2, mask.ids_keep.unsqueeze(1).expand(-1, 4, -1), tokens[:, 1:].mT
        )
        expected = decoder((maps.unflatten(2, (4, 4)),), mask)
        torch.testing.assert_close(decoder((tokens,), mask), expected)

    def test_finer_maps_are_added_without_their_hidden_positions(self):
        decoder = ConvDecoder((8, 8), 3 * 16, embed_dims=16, depth=0, upsamplings=2).eval()
        decoder.init_weights()
        mask = RandomMask(0.5)(2, (4, 4))
        taps = [torch.randn(2, 8, 8, 8), torch.randn(2, 8, 4, 4)]
        prediction = decoder(taps, mask)
        assert prediction.shape == (2, 16, 48)
        emptied = [hide_positions(tap, mask) for tap in taps]
        assert torch.equal(decoder(emptied, mask), prediction)
        assert not torch.equal(decoder([0 * taps[0], taps[1]], mask), prediction)
        with pytest.raises(ValueError, match='consecutive stages up to the last'):
            decoder([taps[1], taps[0]], mask)

    def test_without_upsampling_the_last_map_is_read(self):
        decoder, mask = ConvDecoder((5, 8), 3, embed_dims=16), RandomMask(0.5)(2, (4, 4))
        last = torch.randn(2, 8, 4, 4)
        prediction = decoder([torch.randn(2, 5, 8, 8), last], mask)
        assert torch.equal(decoder([torch.randn(2, 5, 8, 8), last], mask), prediction)
        assert len(decoder.mask_tokens) == len(decoder.inputs) == 1

    def test_a_position_predicts_its_place_in_the_patch(self):
        """The vectors of pixel targets: rows, columns, channels."""
        decoder = ConvDecoder(8, 3 * 16, embed_dims=16, depth=0, upsamplings=2).eval()
        pixels = torch.randn(1, 3, 8, 8)
        decoder.project = nn.Identity()
        decoder.upsamplings[1].register_forward_hook(lambda *_: pixels)
        prediction = decoder((torch.randn(1, 8, 2, 2),), RandomMask(0.5)(1, (2, 2)))
        assert torch.equal(prediction[0, 1].view(4, 4, 3), pixels[0, :, :4, 4:].permute(1, 2, 0))

    @pytest.mark.parametrize(
        ('options', 'message'),
        [
            (dict(in_channels=4, out_channels=6, upsamplings=1), 'out_channels=6 must be a mult'),
            (dict(in_channels=4, out_channels=4, embed_dims=5, upsamplings=1), 'embed_dims=5'),
            (dict(in_channels=4, out_channels=(4, 4)), 'ConvDecoder predicts one'),
        ],
    )
    def test_what_does_not_fit_is_refused(self, options, message):
        with pytest.raises(ValueError, match=message):
            ConvDecoder(**options)


def test_the_recipes_have_the_constants_of_the_released_code():
    """SparK's for ResNets, and those of FCMAE's command; both scale their rates by batch / 256."""
    spark = Config.fromfile(ROOT / 'configs/spark/spark_resnet-50_8xb512-amp-coslr-1600e_in1k.py')
    fcmae = Config.fromfile(
        ROOT / 'configs/spark/fcmae_convnext-base_8xb512-amp-coslr-800e_in1k.py'
    )
    model = nn.Linear(2, 2)
    optimizer = build_optim_wrapper(model, spark.optim_wrapper).optimizer
    assert (optimizer.defaults['lr'], optimizer.defaults['betas']) == (2e-4, (0.9, 0.95))
    assert optimizer.defaults['max_grad_norm'] == 5
    rate, decay = spark.param_scheduler
    assert (rate.warmup_epochs, spark.train_cfg.max_epochs) == (40, 1600)
    assert rate.eta_min == pytest.approx(1e-3 * 2e-4 * 4096 / 256)
    assert decay.eta_min_ratio * optimizer.defaults['weight_decay'] == pytest.approx(0.2)
    optimizer = build_optim_wrapper(model, fcmae.optim_wrapper).optimizer
    assert (optimizer.defaults['lr'], optimizer.defaults['betas']) == (1.5e-4, (0.9, 0.95))
    assert (fcmae.param_scheduler.warmup_epochs, optimizer.defaults['weight_decay']) == (40, 0.05)

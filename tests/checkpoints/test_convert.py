"""Conversion against networks written here with timm's blocks, whose names the releases share."""

import math
import re
import runpy
import sys
from argparse import Namespace
from functools import partial

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
import transformers
from conftest import ROOT
from mmengine.config import Config
from safetensors.torch import load_file
from timm.layers import LayerNorm2d, PatchEmbed
from timm.models.vision_transformer import Block
from torch import nn

from mmmask.apis import convert_checkpoint
from mmmask.checkpoints import LAYOUTS, CheckpointError, open_checkpoint, rename, take_whole
from mmmask.layers import sincos_position_embedding
from mmmask.registry import MODELS

WIDTH, DEPTH, HEADS, SIZE, PATCH = 32, 4, 4, 64, 16
Norm = partial(nn.LayerNorm, eps=1e-6)


def position_table(width, side):
    """(1, 1 + side², width) as MAE's reference defines it, entry by entry."""
    table = np.zeros((1 + side * side, width))
    for row in range(side):
        for column in range(side):
            for half, index in enumerate((column, row)):
                for i in range(width // 4):
                    angle = index / 10000 ** (i / (width / 4))
                    at = half * width // 2 + i
                    table[1 + row * side + column, at] = math.sin(angle)
                    table[1 + row * side + column, at + width // 4] = math.cos(angle)
    return torch.from_numpy(table).float().unsqueeze(0)


def fixed_position(width):
    return nn.Parameter(position_table(width, SIZE // PATCH), requires_grad=False)


def blocks(width, depth, heads):
    return nn.ModuleList(
        Block(width, heads, 4, qkv_bias=True, norm_layer=Norm) for _ in range(depth)
    )


class OfficialEncoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, WIDTH))
        self.pos_embed = fixed_position(WIDTH)
        self.patch_embed = PatchEmbed(SIZE, PATCH, 3, WIDTH)
        self.blocks = blocks(WIDTH, DEPTH, HEADS)

    def encode(self, images, keep):
        tokens = self.patch_embed(images) + self.pos_embed[:, 1:]
        tokens = torch.stack([image[ids] for image, ids in zip(tokens, keep, strict=True)])
        class_token = self.cls_token + self.pos_embed[:, :1]
        tokens = torch.cat([class_token.expand(len(tokens), -1, -1), tokens], 1)
        taps = []
        for block in self.blocks:
            tokens = block(tokens)
            taps.append(tokens)
        return taps


def fill_in(tokens, mask_token, keep, position):
    """The visible tokens in their places, the mask token everywhere else."""
    filled = mask_token.repeat(len(tokens), position.shape[1], 1)
    filled[:, 0] = tokens[:, 0]
    for image, ids in enumerate(keep):
        filled[image, 1 + ids] = tokens[image, 1:]
    return filled + position


class OfficialMAE(OfficialEncoder):
    def __init__(self):
        super().__init__()
        self.norm = Norm(WIDTH)
        self.decoder_embed = nn.Linear(WIDTH, 16)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, 16))
        self.decoder_pos_embed = fixed_position(16)
        self.decoder_blocks = blocks(16, 2, 2)
        self.decoder_norm = Norm(16)
        self.decoder_pred = nn.Linear(16, 3 * PATCH**2)

    def forward(self, images, keep):
        tokens = self.decoder_embed(self.norm(self.encode(images, keep)[-1]))
        tokens = fill_in(tokens, self.mask_token, keep, self.decoder_pos_embed)
        for block in self.decoder_blocks:
            tokens = block(tokens)
        return self.decoder_pred(self.decoder_norm(tokens))[:, 1:]


class OfficialDecoder(nn.Module):
    def __init__(self, scale, width=16):
        super().__init__()
        self.embed = nn.Linear(WIDTH, width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = fixed_position(width)
        self.blocks = blocks(width, 1, 2)
        self.norm = Norm(width)
        half, quarter = width // 2, width // 4
        heads = [
            [
                nn.ConvTranspose2d(width, half, 2, 2),
                LayerNorm2d(half, eps=1e-6),
                nn.GELU(),
                nn.ConvTranspose2d(half, quarter, 2, 2),
                nn.Conv2d(quarter, 27, 1),
            ],
            [nn.ConvTranspose2d(width, half, 2, 2), nn.Conv2d(half, 27, 1)],
            [nn.Conv2d(width, 27, 1)],
            [nn.AvgPool2d(2, 2), nn.Conv2d(width, 27, 1)],
        ]
        self.pred = nn.Sequential(*heads[scale])

    def forward(self, tokens, keep):
        tokens = fill_in(self.embed(tokens), self.mask_token, keep, self.pos_embed)
        tokens = self.norm(self.blocks[0](tokens))[:, 1:]
        side = SIZE // PATCH
        maps = tokens.transpose(1, 2).reshape(len(tokens), -1, side, side)
        return self.pred(maps).flatten(2).transpose(1, 2)


class OfficialHOG(nn.Module):
    def __init__(self, bias):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3, bias=bias)
        sobel = torch.tensor([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]])
        self.conv.weight.data = torch.stack([sobel, sobel.T]).unsqueeze(1)

    def forward(self, image, size):
        """(1, H, W) -> (H/size · W/size, 9), pixel by pixel."""
        gx, gy = self.conv(F.pad(image.unsqueeze(0), (1, 1, 1, 1), mode='reflect'))[0]
        bins = (torch.atan2(gx, gy) / math.pi * 9).floor().long() % 9
        hot = F.one_hot(bins, 9) * gx.hypot(gy).unsqueeze(-1)
        cells = F.avg_pool2d(hot.permute(2, 0, 1).unsqueeze(0), size)[0]
        return F.normalize(cells.flatten(1).T, dim=-1)


class OfficialLocalMIM(OfficialEncoder):
    def __init__(self, bias=False):
        super().__init__()
        self.norm = nn.ModuleList(Norm(WIDTH) for _ in range(4))
        self.decoder = nn.ModuleList(OfficialDecoder(scale) for scale in range(4))
        self.hog_enc = nn.ModuleList(OfficialHOG(bias) for _ in range(4))

    def forward(self, images, keep):
        taps = self.encode(images, keep)
        parts = zip(self.decoder, self.norm, taps, strict=True)
        return [decoder(norm(tap), keep) for decoder, norm, tap in parts]


def official(kind, **options):
    """An official network whose every weight, norms and biases too, is random."""
    torch.manual_seed(0)
    network = kind(**options).eval()
    for parameter in network.parameters():
        if parameter.requires_grad and parameter.shape != (2, 1, 3, 3):
            parameter.data.add_(0.1 * torch.randn_like(parameter))
    return network


def ours(method, bias=False):
    decoder = dict(type='mmmask.ScaleDecoder', in_channels=WIDTH, out_channels=27)
    decoder |= dict(embed_dims=16, num_heads=2)
    boxes = {
        'MAE': dict(
            backbone=dict(final_norm=True),
            neck=dict(type='mmmask.TokenDecoder', in_channels=WIDTH, out_channels=3 * PATCH**2)
            | dict(embed_dims=16, depth=2, num_heads=2),
            target_generator=dict(type='mmmask.PixelTarget', patch_size=PATCH),
        ),
        'LocalMIM': dict(
            backbone=dict(final_norm=False, out_indices=[0, 1, 2, 3]),
            neck=dict(
                type='mmmask.MultiScaleDecoder',
                decoders=[decoder | dict(scale=scale) for scale in (4, 2, 1, 0.5)],
            ),
            target_generator=dict(type='mmmask.HOGTarget', num_bins=9, bias=bias),
        ),
    }[method]
    arch = dict(embed_dims=WIDTH, num_layers=DEPTH, num_heads=HEADS, feedforward_channels=4 * WIDTH)
    boxes['backbone'] |= dict(
        type='mmmask.MaskedVisionTransformer', arch=arch, img_size=SIZE, patch_size=PATCH
    )
    boxes |= dict(
        masking=dict(type='mmmask.RandomMask'), head=dict(type='mmmask.MaskedRegressionHead')
    )
    return MODELS.build(dict(type=f'mmmask.{method}', **boxes)).eval()


def save_official(network, path):
    """As the releases do: with the optimizer, and the arguments as a namespace."""
    args = Namespace(model='tiny', blr=2e-4)
    torch.save({'model': network.state_dict(), 'optimizer': {}, 'epoch': 7, 'args': args}, path)
    return path


def predict(model, images):
    """Prediction of one draw of the mask, and the visible patches."""
    with torch.no_grad():
        mask, prediction = model.reconstruct(images)
    return prediction, mask.ids_keep


def assert_close(actual, expected):
    assert (actual - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.fixture
def images():
    return torch.randn(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


def test_position_tables_are_the_official_ones():
    for width, side in ((16, 4), (768, 14)):
        table = sincos_position_embedding((side, side), width, class_token=True)
        assert (table - position_table(width, side)).abs().max() <= 1e-6


def test_converted_mae_predicts_the_same(tmp_path, images):
    network, model = official(OfficialMAE), ours('MAE')
    convert_checkpoint(save_official(network, tmp_path / 'a.pth'), tmp_path / 'b.pth', 'mae')
    model.load_state_dict(open_checkpoint(tmp_path / 'b.pth')['state_dict'], strict=True)
    prediction, keep = predict(model, images)
    assert_close(prediction, network(images, keep))


def test_a_pre_training_of_hugging_face_predicts_the_same(tmp_path, images):
    torch.manual_seed(0)
    config = transformers.ViTMAEConfig(
        hidden_size=WIDTH, num_hidden_layers=DEPTH, num_attention_heads=HEADS,
        intermediate_size=4 * WIDTH, image_size=SIZE, patch_size=PATCH, layer_norm_eps=1e-6,
        decoder_hidden_size=16, decoder_num_hidden_layers=2, decoder_num_attention_heads=2,
        decoder_intermediate_size=64,
    )  # fmt: skip
    network = transformers.ViTMAEForPreTraining(config).eval()
    for name, parameter in network.named_parameters():
        if not name.endswith(('position_embeddings', 'decoder_pos_embed')):
            parameter.data.add_(0.1 * torch.randn_like(parameter))
    network.decoder.initialize_weights((SIZE // PATCH) ** 2)  # position table, as in its releases
    network.save_pretrained(tmp_path)
    renaming = convert_checkpoint(tmp_path / 'model.safetensors', tmp_path / 'b.pth')
    assert renaming.left_out[0] == 'decoder.decoder_pos_embed'  # which mmmask computes

    convert_checkpoint(tmp_path / 'b.pth', tmp_path / 'back.safetensors', target='huggingface-mae')
    network.load_state_dict(load_file(tmp_path / 'back.safetensors'), strict=True)

    model, checkpoint = ours('MAE'), open_checkpoint(tmp_path / 'model.safetensors')
    take_whole(model, checkpoint, 'model.safetensors')  # as load_from does
    model.load_state_dict(checkpoint['state_dict'], strict=True)
    prediction, keep = predict(model, images)
    noise = torch.full((len(images), (SIZE // PATCH) ** 2), 99.0)
    noise.scatter_(1, keep, torch.arange(keep.shape[1]).float().expand_as(keep))
    assert_close(prediction, network(images, noise=noise).logits)


def test_converted_localmim_predicts_the_same_at_every_scale(tmp_path, images):
    network, model = official(OfficialLocalMIM), ours('LocalMIM')
    src = save_official(network, tmp_path / 'a.pth')
    convert_checkpoint(src, tmp_path / 'b.safetensors', 'localmim-vit')
    model.load_state_dict(open_checkpoint(tmp_path / 'b.safetensors')['state_dict'], strict=True)
    predictions, keep = predict(model, images)
    expected = network(images, keep)
    assert [p.shape[1] for p in predictions] == [256, 64, 16, 4]
    for actual, reference in zip(predictions, expected, strict=True):
        assert_close(actual, reference)


def test_the_random_bias_of_hog_targets_is_carried_over(tmp_path, images):
    network, model = official(OfficialLocalMIM, bias=True), ours('LocalMIM', bias=True)
    convert_checkpoint(save_official(network, tmp_path / 'a.pth'), tmp_path / 'b.pth')
    model.load_state_dict(open_checkpoint(tmp_path / 'b.pth')['state_dict'], strict=True)
    targets = model.target_generator(images)
    for target, layer, size in zip(targets, network.hog_enc, (4, 8, 16, 32), strict=True):
        for image in range(2):
            channels = [layer(images[image, c : c + 1], size) for c in range(3)]
            difference = (target[image] - torch.cat(channels, dim=1)).abs()
            # An angle on the border of two bins may round to either side.
            assert (difference > 1e-5).float().mean() < 1e-3


@pytest.mark.parametrize(
    'kind, layout, options',
    [
        (OfficialMAE, 'mae', {}),
        (OfficialLocalMIM, 'localmim-vit', {}),
        (OfficialLocalMIM, 'localmim-vit', {'bias': True}),
    ],
)
def test_there_and_back_is_bit_equal(tmp_path, kind, layout, options):
    network = official(kind, **options)
    src = save_official(network, tmp_path / 'official.pth')
    inwards = convert_checkpoint(src, tmp_path / 'ours.pth', layout)
    outwards = convert_checkpoint(tmp_path / 'ours.pth', tmp_path / 'back.pth', 'mmmask', layout)

    expected, back = network.state_dict(), open_checkpoint(tmp_path / 'back.pth')['model']
    assert back.keys() == expected.keys()
    assert all(torch.equal(back[name], expected[name]) for name in expected)
    # Every name of the official file went somewhere or is reported.
    used = {name for old, _ in inwards.matched for name in old}
    assert used | set(inwards.left_out) == {*expected, 'optimizer', 'epoch', 'args'}
    assert outwards.left_out == ['meta']


def test_an_encoder_alone_converts(tmp_path):
    network = official(OfficialMAE)
    encoder = {k: v for k, v in network.state_dict().items() if not k.startswith(('dec', 'mask'))}
    torch.save({'model': encoder}, tmp_path / 'a.pth')
    renaming = convert_checkpoint(tmp_path / 'a.pth', tmp_path / 'b.pth', 'mae')
    model = ours('MAE')
    assert renaming.tensors.keys() == {k for k in model.state_dict() if k.startswith('backbone.')}
    assert renaming.left_out == []


def test_a_timm_classifier_gives_its_encoder(tmp_path, images):
    torch.manual_seed(0)
    network = timm.models.VisionTransformer(
        img_size=SIZE,
        patch_size=PATCH,
        embed_dim=WIDTH,
        depth=DEPTH,
        num_heads=HEADS,
        num_classes=5,
    ).eval()
    torch.save(network.state_dict(), tmp_path / 'a.pth')
    renaming = convert_checkpoint(tmp_path / 'a.pth', tmp_path / 'b.pth', 'timm')
    assert sorted(renaming.left_out) == ['head.bias', 'head.weight']
    backbone = ours('MAE').backbone
    tensors = open_checkpoint(tmp_path / 'b.pth')['state_dict']
    backbone.load_state_dict({k.removeprefix('backbone.'): v for k, v in tensors.items()})
    assert_close(backbone(images)[-1], network.forward_features(images))


def test_a_hugging_face_encoder_gives_the_same_features(tmp_path, images):
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=WIDTH, num_hidden_layers=DEPTH, num_attention_heads=HEADS,
        intermediate_size=4 * WIDTH, image_size=SIZE, patch_size=PATCH, layer_norm_eps=1e-6,
    )  # fmt: skip
    network = transformers.ViTModel(config).eval()
    for parameter in network.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    network.save_pretrained(tmp_path)
    convert_checkpoint(tmp_path / 'model.safetensors', tmp_path / 'b.pth', 'huggingface')
    backbone = ours('MAE').backbone
    tensors = open_checkpoint(tmp_path / 'b.pth')['state_dict']
    backbone.load_state_dict({k.removeprefix('backbone.'): v for k, v in tensors.items()})
    assert_close(backbone(images)[-1], network(images).last_hidden_state)


@pytest.mark.parametrize(
    'config, layout, count',
    [
        # 148 of the encoder, 8 of tap norms, 88 of decoders, 4 HOG filters
        ('localmim_vit-base-p16', 'localmim-vit', 248),
        # 150 of the encoder, 104 of the decoder
        ('mae_vit-base-p16', 'mae', 254),
    ],
)
def test_base_models_have_the_official_number_of_tensors(config, layout, count):
    cfg = Config.fromfile(ROOT / 'configs/_base_/models' / f'{config}.py')
    tensors = MODELS.build(cfg.model).state_dict()
    official = rename(tensors, layout, 'ours')
    assert len(official.tensors) == count and official.left_out == []
    shape = tuple(official.tensors['pos_embed'].shape)
    assert shape == (1, 197, 768)
    if layout == 'localmim-vit':
        assert tuple(official.tensors['decoder.3.pos_embed'].shape) == (1, 197, 256)
        assert tuple(official.tensors['decoder.0.pred.4.weight'].shape) == (27, 64, 1, 1)


def broken(change, kind=OfficialMAE):
    tensors = official(kind).state_dict()
    change(tensors)
    return tensors


@pytest.mark.parametrize(
    'tensors, layout, messages',
    [
        (
            lambda: broken(lambda t: t.pop('blocks.2.attn.qkv.bias')),
            'mae',
            ['1 missing: blocks.2.attn.qkv.bias'],
        ),
        (
            lambda: broken(lambda t: t.update({'blocks.0.ls1.gamma': torch.ones(1)})),
            'mae',
            ['1 unknown: blocks.0.ls1.gamma', 'None of the layouts localmim-vit, mae'],
        ),
        (
            lambda: official(OfficialMAE).state_dict(),
            'localmim-vit',
            ['does not fit localmim-vit (official', 'The names fit mae: choose that instead'],
        ),
        (
            lambda: broken(lambda t: t.pop('decoder.1.embed.bias'), OfficialLocalMIM),
            'localmim-vit',
            ['1 missing: decoder.1.embed.bias'],
        ),
        (
            lambda: broken(lambda t: t['decoder_pos_embed'].add_(1e-3)),
            'mae',
            ['decoder_pos_embed is not the constant', 'largest difference is 0.001'],
        ),
        (
            lambda: broken(lambda t: t['hog_enc.2.conv.weight'].neg_(), OfficialLocalMIM),
            'localmim-vit',
            ['hog_enc.2.conv.weight is not the constant'],
        ),
        (
            lambda: timm.create_model('resnet10t').state_dict(),
            'mae',
            ['unknown: bn1.bias', 'missing: blocks.0.attn.proj.bias', 'None of the layouts'],
        ),
        (
            lambda: ours('MAE').state_dict(),
            'mae',
            ["The names are mmmask's own names of a vision transformer, which need no conversion"],
        ),
    ],
)
def test_a_file_that_does_not_fit_is_explained(tmp_path, tensors, layout, messages):
    torch.save({'model': tensors()}, tmp_path / 'a.pth')
    with pytest.raises(CheckpointError) as error:
        convert_checkpoint(tmp_path / 'a.pth', tmp_path / 'b.pth', layout)
    for message in messages:
        assert message in str(error.value)
    assert not (tmp_path / 'b.pth').exists()


@pytest.mark.parametrize(
    'source, target, message',
    [
        ('localmim', 'mmmask', "source='localmim' is not one of .* Did you mean 'localmim-vit'?"),
        ('mmmask', 'mea', "target='mea' is not one of .* Did you mean 'mae'?"),
        ('mmmask', 'timm', "target='timm' holds an encoder only: use mmmask export"),
        ('mae', 'localmim-vit', "exactly one of them must be 'mmmask'"),
        ('mmmask', 'mmmask', "exactly one of them must be 'mmmask'"),
    ],
)
def test_wrong_layouts_are_explained(source, target, message):
    with pytest.raises(ValueError, match=message):
        convert_checkpoint('any.pth', 'other.pth', source, target)


def test_the_command_line_converts_and_explains(tmp_path, monkeypatch, capsys):
    src = save_official(official(OfficialMAE), tmp_path / 'a.pth')

    def run(layout):
        command = ['convert.py', str(src), str(tmp_path / 'b.pth'), '--from', layout]
        monkeypatch.setattr(sys, 'argv', command)
        runpy.run_path(str(ROOT / 'tools/convert.py'), run_name='__main__')

    run('mae')
    printed = capsys.readouterr().out
    assert '8 x  blocks.*.attn.qkv.{weight,bias}' in printed
    assert 'left out: decoder_pos_embed (1), optimizer (1), epoch (1), args (1)' in printed
    with pytest.raises(SystemExit, match='error: the file does not fit localmim-vit'):
        run('localmim-vit')
    monkeypatch.setattr(sys, 'argv', ['convert.py', '--layouts'])
    with pytest.raises(SystemExit):
        runpy.run_path(str(ROOT / 'tools/convert.py'), run_name='__main__')
    printed = capsys.readouterr().out
    for name, layout in LAYOUTS.items():
        assert re.search(rf'^  {name} +{re.escape(layout.description)}$', printed, re.MULTILINE)

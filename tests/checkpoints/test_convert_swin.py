"""Official LocalMIM Swin checkpoints: names, patch merging both ways, round trips."""

import re

import pytest
import timm
import torch
from conftest import ROOT
from mmcv.cnn.bricks.transformer import PatchMerging
from mmengine.config import Config
from mmpretrain.models.backbones import SwinTransformer
from torch import nn

from mmmask.apis import convert_checkpoint
from mmmask.checkpoints import CheckpointError, open_checkpoint, rename
from mmmask.registry import MODELS

ARCH = dict(embed_dims=8, depths=[2, 2, 4, 2], num_heads=[1, 2, 2, 4])
RASTER, COLUMNS = [(0, 0), (0, 1), (1, 0), (1, 1)], [(0, 0), (1, 0), (0, 1), (1, 1)]


def small_model(target):
    cfg = Config.fromfile(ROOT / f'configs/localmim/localmim_swin-base-{target}_8xb256-amp-coslr'
                          '-100e_in1k.py').model  # fmt: skip
    cfg.backbone.arch = ARCH
    for decoder, width in zip(cfg.neck.decoders, (16, 32, 64, 64), strict=True):
        decoder.in_channels = width
    torch.manual_seed(0)
    model = MODELS.build(cfg)
    for parameter in model.parameters():
        parameter.data.normal_()
    return model


def official_names(target):
    """The names of an official file, written down from its network."""
    norm = ('weight', 'bias')
    names = [f'encoder.patch_embed.{layer}.{p}' for layer in ('proj', 'norm') for p in norm]
    for stage, depth in enumerate(ARCH['depths']):
        for block in range(depth):
            stem = f'encoder.layers.{stage}.blocks.{block}'
            for layer in ('norm1', 'attn.qkv', 'attn.proj', 'norm2', 'mlp.fc1', 'mlp.fc2'):
                names += [f'{stem}.{layer}.{p}' for p in norm]
            names += [f'{stem}.attn.relative_position_{kind}' for kind in ('bias_table', 'index')]
        if stage < 3:
            stem = f'encoder.layers.{stage}.downsample'
            names += [f'{stem}.reduction.weight', *(f'{stem}.norm.{p}' for p in norm)]
    for scale in range(4):
        names += [f'encoder.norm.{scale}.{p}' for p in norm]
        stem = f'decoder.{scale}'
        names += [f'{stem}.mask_token', f'{stem}.pos_embed']
        block = ('norm1', 'attn.qkv', 'attn.proj', 'norm2', 'mlp.fc1', 'mlp.fc2')
        for layer in ('embed', *(f'blocks.0.{layer}' for layer in block), 'norm', 'pred'):
            names += [f'{stem}.{layer}.{p}' for p in norm]
        if target == 'hog':
            names += [f'hog_enc.{scale}.conv.{p}' for p in norm]
    return set(names)


@pytest.mark.parametrize('target', ['hog', 'pixel'])
@pytest.mark.parametrize('layout', ['localmim-swin', 'localmim-swin-swapped'])
def test_names_and_round_trip_bit_by_bit(tmp_path, target, layout):
    model = small_model(target)
    torch.save({'state_dict': model.state_dict()}, tmp_path / 'a.pth')
    renaming = convert_checkpoint(tmp_path / 'a.pth', tmp_path / 'b.pth', 'mmmask', layout)
    assert renaming.left_out == []
    official = open_checkpoint(tmp_path / 'b.pth')['model']
    assert official.keys() == official_names(target)

    convert_checkpoint(tmp_path / 'b.pth', tmp_path / 'c.pth', layout)
    back = open_checkpoint(tmp_path / 'c.pth')['state_dict']
    assert back.keys() == model.state_dict().keys()
    assert all(torch.equal(back[name], value) for name, value in model.state_dict().items())
    again = rename(back, layout, 'ours').tensors
    assert all(torch.equal(again[name], value) for name, value in official.items())


def test_swin_b_has_the_official_number_of_tensors():
    """357 of the encoder, 80 of the decoders, 8 of HOG with bias."""
    cfg = Config.fromfile(ROOT / 'configs/_base_/models/localmim_swin-base.py')
    official = rename(MODELS.build(cfg.model).state_dict(), 'localmim-swin', 'ours').tensors
    counts = [sum(n.startswith(p) for n in official) for p in ('encoder.', 'decoder.', 'hog_enc.')]
    assert counts == [357, 80, 8] and len(official) == 445
    positions = [tuple(official[f'decoder.{k}.pos_embed'].shape) for k in range(4)]
    assert positions == [(1, 784, 64), (1, 196, 128), (1, 49, 128), (1, 49, 128)]


@pytest.mark.parametrize(
    ('layout', 'prefix', 'order'),
    [
        ('localmim-swin', 'encoder.', RASTER),
        ('localmim-swin-swapped', 'encoder.', COLUMNS),
        ('localmim-swin-finetuned', '', COLUMNS),
    ],
)
def test_patch_merging_means_the_same(layout, prefix, order):
    """Their layer concatenates 2 x 2 tokens in an order of its own; ours unfolds."""
    model = small_model('hog')
    tensors = model.state_dict()
    if not prefix:  # a classifier has the backbone without tap norms, and a head
        tensors = {n: t for n, t in tensors.items() if re.match(r'backbone\.(stages|patch)', n)}
        tensors |= {'neck.norm.weight': torch.ones(64), 'neck.norm.bias': torch.ones(64)}
        tensors |= {'head.fc.weight': torch.ones(5, 64), 'head.fc.bias': torch.ones(5)}
    theirs = rename(tensors, layout, 'ours').tensors
    ours = model.backbone.stages[1].downsample
    assert isinstance(ours, PatchMerging)
    maps = torch.randn(1, 6, 4, 16)
    quads = torch.cat([maps[:, row::2, column::2] for row, column in order], -1)
    stem = f'{prefix}layers.1.downsample'
    norm = nn.functional.layer_norm(
        quads, (64,), theirs[f'{stem}.norm.weight'], theirs[f'{stem}.norm.bias'], 1e-6
    )
    expected = norm @ theirs[f'{stem}.reduction.weight'].T
    actual, _ = ours(maps.flatten(1, 2), (6, 4))
    torch.testing.assert_close(actual, expected.flatten(1, 2), atol=1e-4, rtol=1e-5)


def test_a_fine_tuned_classifier_gives_the_same_features(tmp_path):
    """timm's Swin is the fine-tuning's network; it counts patch merging to the next stage."""
    torch.manual_seed(0)
    network = timm.models.SwinTransformer(
        img_size=64, patch_size=2, window_size=4, embed_dim=8, num_classes=5,
        depths=ARCH['depths'], num_heads=ARCH['num_heads'],
    ).eval()  # fmt: skip
    for parameter in network.parameters():
        parameter.data.add_(0.2 * torch.randn_like(parameter))
    tensors = {}
    for name, tensor in network.state_dict().items():
        if '.downsample.' in name:
            stage = int(name.split('.')[1])
            name = name.replace(f'layers.{stage}', f'layers.{stage - 1}')
        tensors[name.replace('head.fc.', 'head.')] = tensor
    for name, module in network.named_modules():
        if hasattr(module, 'relative_position_index'):
            tensors[f'{name}.relative_position_index'] = module.relative_position_index
    tensors['layers.0.blocks.1.attn_mask'] = torch.zeros(64, 16, 16)
    torch.save({'model': tensors}, tmp_path / 'a.pth')
    renaming = convert_checkpoint(tmp_path / 'a.pth', tmp_path / 'b.pth', 'localmim-swin-finetuned')
    assert renaming.left_out == ['layers.0.blocks.1.attn_mask']

    ours = nn.Module()
    ours.backbone = SwinTransformer(ARCH, img_size=64, patch_size=2, window_size=4, norm_cfg=None)
    ours.neck = MODELS.build(dict(type='mmmask.PooledNorm', in_channels=64, eps=1e-5))
    ours.head = nn.Module()
    ours.head.fc = nn.Linear(64, 5)
    ours.load_state_dict(open_checkpoint(tmp_path / 'b.pth')['state_dict'], strict=True)
    ours.backbone.eval()
    images = torch.randn(2, 3, 64, 64)
    network.norm, norm = nn.Identity(), network.norm
    with torch.no_grad():
        maps = network.forward_features(images)
        expected = network.head.fc(norm(maps.mean((1, 2))))
        actual = ours.head.fc(ours.neck(ours.backbone(images))[-1])
    torch.testing.assert_close(actual, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ('file', 'layout', 'messages'),
    [
        ('official', 'localmim-vit', ['names fit localmim-swin and localmim-swin-swapped']),
        ('official', 'localmim-swin-finetuned', ['unknown: decoder.0.blocks.0', 'The names fit']),
        ('mmmask', 'localmim-swin', ["mmmask's own names of a Swin transformer"]),
        ('vit', 'localmim-swin', ['unknown: blocks.0', 'The names fit timm']),
    ],
)
def test_a_checkpoint_of_another_kind_is_explained(file, layout, messages):
    tensors = small_model('hog').state_dict()
    if file == 'official':
        tensors = rename(tensors, 'localmim-swin', 'ours').tensors
    elif file == 'vit':
        tensors = timm.models.VisionTransformer(embed_dim=16, depth=1, num_heads=1).state_dict()
    with pytest.raises(CheckpointError) as error:
        rename(tensors, layout, 'theirs')
    for message in messages:
        assert message in str(error.value)


def test_a_wrong_constant_is_named():
    tensors = rename(small_model('hog').state_dict(), 'localmim-swin', 'ours').tensors
    tensors['decoder.1.pos_embed'] = tensors['decoder.1.pos_embed'].roll(1, dims=1)
    with pytest.raises(CheckpointError, match=r'decoder.1.pos_embed is not the constant'):
        rename(tensors, 'localmim-swin', 'theirs')

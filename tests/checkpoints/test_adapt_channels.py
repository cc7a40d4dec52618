"""Weights for RGB in networks for other numbers of channels."""

import pytest
import torch
from mmpretrain.models.backbones import ResNet, SwinTransformer
from torch.testing import assert_close

from mmmask.checkpoints import CheckpointError, backbone, channels, load_backbone
from mmmask.models import MaskedVisionTransformer

ARCH = dict(embed_dims=24, num_layers=1, num_heads=2, feedforward_channels=48)


def vit(in_channels=3):
    return MaskedVisionTransformer(ARCH, 32, 16, in_channels=in_channels)


def load(source, network, tmp_path, monkeypatch):
    torch.save(source.state_dict(), tmp_path / 'a.pth')
    log = []
    monkeypatch.setattr(channels, 'print_log', lambda line, logger: log.append(line))
    monkeypatch.setattr(backbone, 'print_log', lambda line, logger: None)
    load_backbone(network, tmp_path / 'a.pth')
    return log


def test_grey_images_have_the_features_of_three_equal_colours(tmp_path, monkeypatch):
    source, network = vit(), vit(1)
    (line,) = load(source, network, tmp_path, monkeypatch)
    assert line.endswith('a.pth: patch_embed.projection.weight was adapted from 3 to 1 channels')
    images = torch.randn(2, 1, 32, 32)
    assert_close(network(images)[-1], source(images.expand(-1, 3, -1, -1))[-1])


@pytest.mark.parametrize('number', [2, 4, 6, 13])
def test_more_channels_repeat_the_colours(tmp_path, monkeypatch, number):
    source, network = vit(), vit(number)
    load(source, network, tmp_path, monkeypatch)
    ours, theirs = network.patch_embed.projection.weight, source.patch_embed.projection.weight
    for channel in range(number):
        assert_close(ours[:, channel], theirs[:, channel % 3] * 3 / number)
    timm = pytest.importorskip('timm', reason="compares with timm: pip install 'mmmask[export]'")
    expected = timm.models.adapt_input_conv(number, theirs.detach())
    assert_close(ours.detach(), expected)


def test_of_other_encoders(tmp_path, monkeypatch):
    arch = dict(embed_dims=12, depths=[1, 1], num_heads=[1, 2])
    swin = dict(arch=arch, img_size=32, window_size=4, out_indices=(1,))
    for source, network, name in (
        (ResNet(18), ResNet(18, in_channels=4), 'conv1.weight'),
        (SwinTransformer(**swin), SwinTransformer(**swin, in_channels=4), 'patch_embed.projection'),
    ):
        (line,) = load(source, network, tmp_path, monkeypatch)
        assert name in line and line.endswith('from 3 to 4 channels')


def test_equal_numbers_are_left_alone_and_others_refused(tmp_path, monkeypatch):
    assert load(vit(5), vit(5), tmp_path, monkeypatch) == []
    assert load(vit(), vit(), tmp_path, monkeypatch) == []
    with pytest.raises(CheckpointError) as refused:
        load(vit(5), vit(3), tmp_path, monkeypatch)
    assert '(24, 5, 16, 16) in the file but (24, 3, 16, 16)' in str(refused.value)
    assert 'The file takes images of 5 channels: set in_channels=5.' in str(refused.value)
    assert 'Use the architecture' not in str(refused.value)
    coarser = MaskedVisionTransformer(ARCH, 32, 8)
    with pytest.raises(CheckpointError, match='Use the architecture that the file was made with'):
        load(vit(), coarser, tmp_path, monkeypatch)

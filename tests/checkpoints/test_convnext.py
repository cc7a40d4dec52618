"""ConvNeXt computes the same in timm, Hugging Face, mmpretrain and mmmask."""

import re

import pytest
import torch
from conftest import build_model
from torch import nn

from mmmask.checkpoints import find_tensors, open_checkpoint
from mmmask.checkpoints.convert import convert_checkpoint
from mmmask.checkpoints.exporting import export_backbone
from mmmask.models import MaskedConvNeXt

DEPTHS, WIDTHS = [1, 2, 2, 1], [8, 16, 24, 32]
IMAGES = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))


def build(version, **options):
    scale = dict(use_grn=True, layer_scale_init_value=0.0) if version == 2 else {}
    arch = dict(depths=DEPTHS, channels=WIDTHS)
    return MaskedConvNeXt(arch=arch, out_indices=(3,), **scale, **options)


def make_random(network):
    torch.manual_seed(0)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.2)
    network.eval()
    return network


def from_timm(version, conv_mlp):
    timm = pytest.importorskip('timm', reason='pip install mmmask[export]')
    options = dict(use_grn=True, ls_init_value=None) if version == 2 else {}
    network = timm.models.ConvNeXt(depths=DEPTHS, dims=WIDTHS, conv_mlp=conv_mlp, **options)
    make_random(network)
    return network, network.head.norm(network.forward_features(IMAGES))


def from_huggingface(version):
    transformers = pytest.importorskip('transformers', reason='pip install mmmask[export]')
    name = 'ConvNextV2' if version == 2 else 'ConvNext'
    config = getattr(transformers, f'{name}Config')(hidden_sizes=WIDTHS, depths=DEPTHS)
    network = make_random(getattr(transformers, f'{name}Model')(config))
    maps = network(IMAGES).last_hidden_state
    eps = 1e-6  # of ours; Hugging Face norms the mean position and has 1e-12
    weights = network.layernorm.weight, network.layernorm.bias
    normed = nn.functional.layer_norm(maps.movedim(1, 3), (WIDTHS[-1],), *weights, eps)
    return network, normed.movedim(3, 1)


OFFICIAL = {
    r'^stem\.': 'downsample_layers.0.',
    r'^stages\.(\d)\.downsample\.': r'downsample_layers.\1.',
    r'\.blocks\.': '.',
    r'conv_dw': 'dwconv',
    r'mlp\.grn\.weight': 'grn.gamma',
    r'mlp\.grn\.bias': 'grn.beta',
    r'mlp\.fc': 'pwconv',
    r'head\.norm': 'norm',
    r'head\.fc': 'head',
}  # timm's names -> those of ConvNeXt's own code


def from_the_authors(version):
    """Tensors with the names and shapes of the released files; features are timm's."""
    network, features = from_timm(version, conv_mlp=False)
    tensors = {}
    for name, tensor in network.state_dict().items():
        for pattern, replacement in OFFICIAL.items():
            name = re.sub(pattern, replacement, name)
        tensors[name] = tensor[None, None, None] if '.grn.' in name else tensor
    network.state_dict = lambda: tensors
    return network, features


@pytest.mark.parametrize('version', [1, 2])
@pytest.mark.parametrize(
    'load',
    [
        lambda version: from_timm(version, conv_mlp=False),
        lambda version: from_timm(version, conv_mlp=True),
        from_huggingface,
        from_the_authors,
    ],
    ids=['timm', 'timm-convolutions', 'huggingface', 'authors'],
)
def test_weights_of_other_libraries_give_their_features(load, version, tmp_path):
    with torch.no_grad():
        network, expected = load(version)
    torch.save(network.state_dict(), tmp_path / 'theirs.pth')
    convert_checkpoint(tmp_path / 'theirs.pth', tmp_path / 'ours.pth')
    ours = build(version)
    tensors = find_tensors(open_checkpoint(tmp_path / 'ours.pth'))
    ours.load_state_dict({n.removeprefix('backbone.'): t for n, t in tensors.items()}, strict=True)
    ours.eval()
    with torch.no_grad():
        torch.testing.assert_close(ours(IMAGES)[0], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('target', ['mmpretrain', 'mmdet', 'timm'])
@pytest.mark.parametrize('version', [1, 2])
def test_export(target, version, tmp_path):
    if target == 'timm':
        pytest.importorskip('timm', reason='pip install mmmask[export]')
    backbone = make_random(build(version))
    tensors = {f'backbone.{name}': tensor for name, tensor in backbone.state_dict().items()}
    torch.save(dict(state_dict=tensors, meta={}), tmp_path / 'epoch_1.pth')
    result = export_backbone(tmp_path / 'epoch_1.pth', tmp_path / 'out.pth', target)
    assert result.max_difference <= 1e-5
    assert result.renaming.left_out == []
    assert len(result.renaming.matched) == len(tensors)
    assert f"'{tmp_path}/out.pth'" in result.snippet


def test_export_of_a_model_that_was_pretrained_in_three_stages(tmp_path):
    model = build_model('demo/fcmae_convnext-tiny_digits.py')
    model([IMAGES], mode='loss')
    torch.save(dict(state_dict=model.state_dict(), meta={}), tmp_path / 'epoch_1.pth')
    result = export_backbone(tmp_path / 'epoch_1.pth', tmp_path / 'out.pth', 'mmpretrain')
    assert result.max_difference <= 1e-5
    assert {name.partition('.')[0] for name in result.renaming.left_out} == {'neck'}

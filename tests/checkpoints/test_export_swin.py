"""A Swin encoder runs in mmpretrain, mmdet, mmseg and timm as it did in pre-training."""

import pytest
import timm
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import DefaultScope

from mmmask.apis import export_backbone
from mmmask.checkpoints import CheckpointError
from mmmask.checkpoints.exporting.swin import read_swin_architecture
from mmmask.models import MaskedSwinTransformer

LAYER_NORM = dict(type='LN', eps=1e-6)
OPTIONS = dict(
    arch=dict(embed_dims=16, depths=[2, 2, 2, 2], num_heads=[1, 2, 2, 4]),
    img_size=64,
    patch_size=2,
    window_size=4,
    patch_cfg=dict(norm_cfg=LAYER_NORM),
    stage_cfgs=dict(block_cfgs=dict(norm_cfg=LAYER_NORM), downsample_cfg=dict(norm_cfg=LAYER_NORM)),
)


@pytest.fixture(scope='module')
def network():
    """A small encoder with taps and norms as LocalMIM has them, all of its weights random."""
    torch.manual_seed(0)
    network = MaskedSwinTransformer(
        **OPTIONS, norm_cfg=LAYER_NORM, out_indices=(0, 1, 2, 3), out_after_downsample=True
    )
    for parameter in network.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    network.eval()
    return network


@pytest.fixture(scope='module')
def checkpoint(network, tmp_path_factory):
    path = tmp_path_factory.mktemp('swin') / 'epoch_1.pth'
    tensors = {f'backbone.{name}': value for name, value in network.state_dict().items()}
    torch.save(dict(state_dict=tensors | {'neck.a': torch.ones(1)}, meta={}), path)
    return path


def stages(network, images):
    """The maps of the four stages before patch merging and norms."""
    plain = MaskedSwinTransformer(**OPTIONS, norm_cfg=None, out_indices=(0, 1, 2, 3))
    plain.eval()
    plain.load_state_dict({n: t for n, t in network.state_dict().items() if n[:4] != 'norm'})
    with torch.no_grad():
        return plain(images)


def normed(maps, norm=None):
    """(B, D, h, w) -> the same behind a norm, a new one by default."""
    weight, bias = (norm.weight, norm.bias) if norm else (None, None)
    tokens = maps.permute(0, 2, 3, 1)
    return F.layer_norm(tokens, tokens.shape[-1:], weight, bias, 1e-6)


def close(actual, expected):
    torch.testing.assert_close(actual, expected, atol=1e-5 * expected.abs().max().item(), rtol=0)


def test_tensors_tell_the_architecture(network):
    found = read_swin_architecture(network.state_dict(), {})
    assert found.depths == (2, 2, 2, 2) and found.num_heads == (1, 2, 2, 4)
    assert found.windows == (4,) * 4 and found.widths == (16, 32, 64, 128)
    assert found.img_size == (64, 64) and (found.patch_size, found.in_channels) == (2, 3)
    text = Config(dict(model=dict(backbone=dict(img_size=128)))).pretty_text
    assert read_swin_architecture(network.state_dict(), dict(cfg=text)).img_size == (128, 128)


@torch.no_grad()
@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_timm_gives_the_same_features(network, checkpoint, tmp_path, suffix):
    result = export_backbone(checkpoint, tmp_path / f'a{suffix}', 'timm')
    assert result.max_difference <= 1e-5
    left = {name for name in result.renaming.left_out if 'position_index' not in name}
    assert left == {'neck.a'} | {
        f'backbone.norm{i}.{n}' for i in range(3) for n in ('weight', 'bias')
    }
    namespace = {}
    exec(result.snippet, namespace)
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    features = namespace['model'].eval().forward_features(images)
    close(features, normed(stages(network, images)[-1], network.norm3))
    assert isinstance(namespace['model'], timm.models.SwinTransformer)


@torch.no_grad()
@pytest.mark.parametrize('target', ['mmpretrain', 'mmdet', 'mmseg'])
def test_the_snippet_gives_every_stage(network, checkpoint, tmp_path, target):
    if target != 'mmpretrain':
        pytest.importorskip(f'{target}.models', reason=f'{target} is absent')
    result = export_backbone(checkpoint, tmp_path / 'a.pth', target)
    assert result.max_difference <= 1e-5
    with DefaultScope.overwrite_default_scope(target):
        loaded = ROOT_MODELS.build(Config.fromstring(result.snippet, '.py').backbone)
        loaded.init_weights()
    # With pad_small_map, which detectors need, windows are shifted where a map is one window, too.
    size = (64, 128) if target == 'mmpretrain' else (128, 192)
    images = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(3))
    loaded.eval()
    outputs, maps = loaded(images), stages(network, images)
    maps = maps if target != 'mmpretrain' else maps[-1:]
    assert len(outputs) == len(maps)
    for index, (output, expected) in enumerate(zip(outputs, maps, strict=True)):
        norm = network.norm3 if index == len(maps) - 1 else None
        close(output.permute(0, 2, 3, 1), normed(expected, norm))


@torch.no_grad()
@pytest.mark.parametrize('library', ['mmdet', 'mmseg'])
def test_the_libraries_own_swin_takes_the_file(network, checkpoint, tmp_path, library):
    """They shift windows where the map is one window, mmpretrain does not: hence large images."""
    models = pytest.importorskip(f'{library}.models', reason=f'{library} is absent')
    export_backbone(checkpoint, tmp_path / 'a.pth', library)
    theirs = models.SwinTransformer if library == 'mmdet' else models.backbones.SwinTransformer
    loaded = theirs(
        pretrain_img_size=64, embed_dims=16, patch_size=2, window_size=4, depths=(2, 2, 2, 2),
        num_heads=(1, 2, 2, 4), strides=(2, 2, 2, 2), norm_cfg=LAYER_NORM,
    )  # fmt: skip
    loaded.eval()
    tensors = torch.load(tmp_path / 'a.pth', weights_only=True)['state_dict']
    tensors = {name.removeprefix('backbone.'): tensor for name, tensor in tensors.items()}
    missing = loaded.load_state_dict(tensors, strict=False)
    assert missing.unexpected_keys == []
    assert {name.split('.')[0] for name in missing.missing_keys} == {'norm0', 'norm1', 'norm2'}
    images = torch.randn(1, 3, 128, 192, generator=torch.Generator().manual_seed(4))
    expected = stages(network, images)
    for index, output in enumerate(loaded(images)):
        norm = network.norm3 if index == 3 else None
        close(output.permute(0, 2, 3, 1), normed(expected[index], norm))


def test_refusals(network, checkpoint, tmp_path):
    with pytest.raises(CheckpointError, match="cannot be exported to target='huggingface': use"):
        export_backbone(checkpoint, tmp_path / 'a.safetensors', 'huggingface')
    with pytest.raises(CheckpointError, match='num_heads=4 is for vision transformers'):
        export_backbone(checkpoint, tmp_path / 'a.pth', 'timm', num_heads=4)
    tensors = {
        f'backbone.{n}': t for n, t in network.state_dict().items() if not n.startswith('stages.3')
    }
    torch.save(dict(state_dict=tensors, meta={}), tmp_path / 'cut.pth')
    with pytest.raises(CheckpointError, match='has 3 stages, not four'):
        export_backbone(tmp_path / 'cut.pth', tmp_path / 'a.pth', 'mmpretrain')
    assert not (tmp_path / 'a.pth').exists()

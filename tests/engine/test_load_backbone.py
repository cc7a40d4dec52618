"""Loading pre-trained encoders into mmpretrain, mmdet and mmseg, and files that do not fit."""

import pytest
import torch
import torch.nn.functional as F
from conftest import build_model
from mmdet.models.backbones import ResNet as DetectionResNet
from mmdet.models.backbones import SwinTransformer as DetectionSwin
from mmdet.models.roi_heads.shared_heads import ResLayer
from mmpretrain.models.backbones import ResNet, SwinTransformer, VisionTransformer
from mmseg.models.backbones import MAE
from mmseg.models.backbones import ResNet as SegmentationResNet
from mmseg.models.backbones import SwinTransformer as SegmentationSwin
from mmseg.models.backbones import VisionTransformer as SegmentationViT

from mmmask.checkpoints import CheckpointError, load_backbone
from mmmask.models import WindowVisionTransformer

TINY = dict(embed_dims=128, num_layers=6, num_heads=4, feedforward_channels=512)
SWIN = dict(embed_dims=32, depths=[2, 2, 2], num_heads=[2, 4, 8])


@pytest.fixture(scope='module')
def vit(tmp_path_factory):
    """A LocalMIM ViT whose every tensor was trained, and its checkpoint."""
    return saved('demo/localmim_vit-tiny_digits.py', tmp_path_factory)


@pytest.fixture(scope='module')
def swin(tmp_path_factory):
    return saved('demo/localmim_swin-tiny_digits.py', tmp_path_factory)


def saved(config, factory):
    model = build_model(config)
    for name, parameter in model.backbone.named_parameters():
        if name != 'pos_embed':
            parameter.data += torch.randn_like(parameter) * 0.05
    path = factory.mktemp('checkpoint') / 'epoch_1.pth'
    torch.save(dict(state_dict=model.state_dict(), meta=dict(epoch=1)), path)
    return model.eval(), path


def features(network, images):
    network.eval()
    with torch.no_grad():
        return network(images)


@pytest.fixture
def images():
    return torch.randn(2, 3, 64, 64)


def test_segmentation_vit_gives_the_taps_of_pre_training(vit, images):
    """Position biases start at 0 and LayerScale at 1, so that nothing changes at the start."""
    model, path = vit
    network = MAE(
        img_size=(64, 64), patch_size=8, embed_dims=128, num_layers=6, num_heads=4,
        norm_cfg=dict(type='LN', eps=1e-6), init_values=1.0, out_indices=[1, 2, 3, 5],
    )  # fmt: skip
    network.init_weights()
    summary = load_backbone(network, path)
    assert summary.endswith('0 unexpected []') and ': 76 tensors' in summary
    assert 'gamma_1' in summary and 'relative_position_bias_table' in summary
    maps = features(network, images)
    for ours, tokens in zip(maps, features(model.backbone, images), strict=True):
        expected = tokens[:, 1:].transpose(1, 2).unflatten(2, (8, 8))
        torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-4)


def test_mmsegs_other_names_of_attention(vit, images):
    model, path = vit
    network = SegmentationViT(
        img_size=(64, 64), patch_size=8, embed_dims=128, num_layers=6, num_heads=4,
        norm_cfg=dict(type='LN', eps=1e-6), out_indices=(1, 2, 3, 5), patch_bias=True,
    )  # fmt: skip
    summary = load_backbone(network, path)
    assert summary.endswith('0 missing [], 0 unexpected []')
    maps = features(network, images)
    for ours, tokens in zip(maps, features(model.backbone, images), strict=True):
        expected = tokens[:, 1:].transpose(1, 2).unflatten(2, (8, 8))
        torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize('network', [SwinTransformer, DetectionSwin, SegmentationSwin])
def test_swin_gives_the_stages_of_pre_training(swin, images, network):
    """Loading works in all three packages with one set of names."""
    model, path = swin
    if network is SwinTransformer:
        options = dict(arch=SWIN, img_size=64, drop_path_rate=0.0, pad_small_map=True)
    else:
        options = dict(**SWIN, strides=(2, 2, 2))
    network = network(patch_size=2, window_size=4, out_indices=(0, 1, 2), **options)
    # Pre-training norms what comes behind the merging of patches, so two norms are new.
    new = ['norm0.bias', 'norm0.weight', 'norm1.bias', 'norm1.weight']
    assert load_backbone(network, path).endswith(f'4 missing {new}, 0 unexpected []')
    stages = []
    for block in model.backbone.stages:
        block.blocks[-1].register_forward_hook(lambda _, __, output: stages.append(output))
    last = features(model.backbone, images)[-1]
    maps = features(network, images)
    torch.testing.assert_close(maps[-1], last, atol=1e-4, rtol=1e-4)
    for index, tokens in enumerate(stages):
        norm = getattr(network, f'norm{index}')
        expected = norm(tokens).transpose(1, 2).unflatten(2, maps[index].shape[2:])
        torch.testing.assert_close(maps[index], expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize('network', [DetectionResNet, SegmentationResNet])
def test_resnet_gives_the_stages_of_pre_training(tmp_path, images, network):
    torch.manual_seed(0)
    trained = ResNet(depth=18, out_indices=(0, 1, 2, 3))
    trained.init_weights()
    trained.train()
    trained(images)  # moves the running statistics
    file = {f'backbone.{name}': tensor for name, tensor in trained.state_dict().items()}
    file |= {'momentum.backbone.conv1.weight': torch.zeros(1), 'neck.weight': torch.zeros(1)}
    torch.save(dict(state_dict=file), tmp_path / 'a.pth')
    network = network(depth=18)
    assert load_backbone(network, tmp_path / 'a.pth').endswith('0 missing [], 0 unexpected []')
    for ours, theirs in zip(features(network, images), features(trained, images), strict=True):
        assert torch.equal(ours, theirs)


def test_the_last_stage_goes_to_the_shared_head_of_a_c4_detector(tmp_path):
    trained = ResNet(depth=18)
    file = {f'backbone.{name}': tensor for name, tensor in trained.state_dict().items()}
    torch.save(dict(state_dict=file), tmp_path / 'a.pth')
    network = DetectionResNet(
        depth=18, num_stages=3, strides=(1, 2, 2), dilations=(1,) * 3, out_indices=(2,)
    )
    with pytest.raises(CheckpointError, match=r'layer4.0.bn1.bias of the file has no place'):
        load_backbone(network, tmp_path / 'a.pth')
    # mmdet builds this head for bottlenecks: its depths start at 50
    deep = ResNet(depth=50)
    file = {f'backbone.{name}': tensor for name, tensor in deep.state_dict().items()}
    torch.save(dict(state_dict=file), tmp_path / 'b.pth')
    network = DetectionResNet(
        depth=50, num_stages=3, strides=(1, 2, 2), dilations=(1,) * 3, out_indices=(2,)
    )
    head = ResLayer(depth=50)
    load_backbone(network, tmp_path / 'b.pth', shared_head=head)
    assert torch.equal(head.layer4[1].conv2.weight, deep.layer4[1].conv2.weight)
    assert torch.equal(network.layer3[1].conv2.weight, deep.layer3[1].conv2.weight)


@pytest.mark.parametrize('size', [(96, 96), (64, 128), (40, 24)])
@pytest.mark.parametrize('kind', ['mmpretrain', 'mmseg', 'windows'])
def test_position_tables_fit_any_grid(vit, size, kind):
    model, path = vit
    grid = size[0] // 8, size[1] // 8
    if kind == 'mmpretrain':
        network = VisionTransformer(arch=TINY, img_size=size, patch_size=8, final_norm=False)
    elif kind == 'mmseg':
        network = MAE(
            img_size=size, patch_size=8, embed_dims=128, num_layers=6, num_heads=4, init_values=1.0
        )
    else:
        arch = dict(TINY, global_attn_indexes=[5])
        network = WindowVisionTransformer(arch=arch, img_size=size, patch_size=8)
    load_backbone(network, path)
    table = model.backbone.pos_embed
    maps = table[:, 1:].transpose(1, 2).unflatten(2, (8, 8))
    expected = F.interpolate(maps, size=grid, mode='bicubic', align_corners=False)
    expected = expected.flatten(2).transpose(1, 2)
    if kind != 'windows':
        expected = torch.cat([table[:, :1], expected], dim=1)
    actual = network.pos_embed.flatten(1, -2)
    torch.testing.assert_close(actual, expected, atol=1e-6, rtol=1e-5)


def test_a_table_of_an_oblong_grid_is_told_by_the_config_in_the_file(tmp_path):
    wide = VisionTransformer(arch=TINY, img_size=(64, 144), patch_size=8, final_norm=False)
    torch.nn.init.normal_(wide.pos_embed)  # 8 x 18 = 144 patches, which could be 12 x 12 as well
    text = 'model = dict(backbone=dict(img_size=(64, 144), patch_size=8, arch=dict(num_heads=4)))'
    torch.save(dict(state_dict=wide.state_dict(), meta=dict(cfg=text)), tmp_path / 'a.pth')
    network = VisionTransformer(arch=TINY, img_size=(64, 80), patch_size=8, final_norm=False)
    load_backbone(network, tmp_path / 'a.pth')
    maps = wide.pos_embed[:, 1:].transpose(1, 2).unflatten(2, (8, 18))
    expected = F.interpolate(maps, size=(8, 10), mode='bicubic', align_corners=False)
    actual = network.pos_embed[:, 1:].transpose(1, 2).unflatten(2, (8, 10))
    torch.testing.assert_close(actual, expected, atol=1e-6, rtol=1e-5)


def test_relative_positions_fit_other_windows(swin):
    """Bicubic over the (2w-1) x (2w-1) offsets, as in Swin's code; indices stay the network's."""
    model, path = swin
    network = SwinTransformer(
        arch=SWIN, img_size=64, patch_size=2, window_size=6, out_indices=(0, 1, 2)
    )
    name = 'stages.1.blocks.0.attn.w_msa.relative_position_bias_table'
    index = network.state_dict()[name.replace('bias_table', 'index')].clone()
    load_backbone(network, path)
    old, new = model.backbone.state_dict()[name], network.state_dict()[name]
    planes = old.T.unflatten(1, (7, 7)).unsqueeze(0)
    expected = F.interpolate(planes, size=(11, 11), mode='bicubic')[0].flatten(1).T
    torch.testing.assert_close(new, expected)
    assert torch.equal(network.state_dict()[name.replace('bias_table', 'index')], index)


def network(**options):
    options = dict(arch=TINY, img_size=64, patch_size=8, final_norm=False) | options
    return VisionTransformer(**options)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(patch_size=16), r'patch_embed.projection.weight is \(128, 3, 8, 8\) in the file but '
            r'\(128, 3, 16, 16\) in the network'),
        (dict(arch=dict(TINY, embed_dims=64)), r'layers.0.attn.proj.weight is \(128, 128\) in the '
            r'file but \(64, 64\)'),
        (dict(arch=dict(TINY, num_layers=7)), 'layers.6.attn.proj.bias of the network is not in '
            'the file'),
        (dict(arch=dict(TINY, num_layers=5)), 'layers.5.attn.proj.bias of the file has no place'),
    ],
)  # fmt: skip
def test_another_architecture_is_named(vit, options, message):
    with pytest.raises(CheckpointError, match=message):
        load_backbone(network(**options), vit[1])


def test_other_heads_are_told_by_the_config_in_the_file(vit, tmp_path):
    text = 'model = dict(backbone=dict(arch=dict(num_heads=8)))'
    file = dict(state_dict=vit[0].state_dict(), meta=dict(cfg=text))
    torch.save(file, tmp_path / 'a.pth')
    with pytest.raises(CheckpointError, match='num_heads is 8 in the file but 4 in the network'):
        load_backbone(network(), tmp_path / 'a.pth')


def test_names_of_architectures_mean_other_things_for_swin(swin, tmp_path):
    text = "model = dict(backbone=dict(type='mmmask.MaskedSwinTransformer', arch='base'))"
    file = dict(state_dict=swin[0].state_dict(), meta=dict(cfg=text))
    torch.save(file, tmp_path / 'a.pth')
    options = dict(img_size=64, patch_size=2, out_indices=(2,))
    network = SwinTransformer(arch=SWIN, window_size=4, **options)
    assert load_backbone(network, tmp_path / 'a.pth').startswith(f'{tmp_path}')

    # Swin's tables determine the number of heads, and none may be missing.
    other = SwinTransformer(arch=SWIN | dict(num_heads=[1, 2, 4]), **options)
    with pytest.raises(CheckpointError, match=r'bias_table is \(49, 2\) in the file but \(169, 1'):
        load_backbone(other, tmp_path / 'a.pth')
    name = 'stages.0.blocks.0.attn.w_msa.relative_position_bias_table'
    del file['state_dict'][f'backbone.{name}']
    torch.save(file, tmp_path / 'b.pth')
    with pytest.raises(CheckpointError, match=f'{name} of the network is not in the file'):
        load_backbone(network, tmp_path / 'b.pth')


def test_another_kind_of_network_and_torn_files(vit, swin, tmp_path):
    with pytest.raises(CheckpointError, match=r'does not fit the backbone ResNet \(0 tensors'):
        load_backbone(DetectionResNet(depth=18), vit[1])
    with pytest.raises(CheckpointError, match=r'does not fit the backbone VisionTransformer'):
        load_backbone(network(), swin[1])
    with pytest.raises(CheckpointError):  # not even with leave to miss some
        load_backbone(DetectionResNet(depth=18), vit[1], allow_missing=True)
    torn = tmp_path / 'torn.pth'
    torn.write_bytes(vit[1].read_bytes()[:10_000])
    with pytest.raises(CheckpointError, match='torn.pth .* is truncated'):
        load_backbone(network(), torn)
    torch.save(dict(state_dict={}), tmp_path / 'empty.pth')
    with pytest.raises(CheckpointError, match='holds no weights'):
        load_backbone(network(), tmp_path / 'empty.pth')


def test_gaps_can_be_allowed(vit, tmp_path):
    model, _ = vit
    tensors = {n: t for n, t in model.state_dict().items() if 'layers.5' not in n}
    torch.save(dict(state_dict=tensors), tmp_path / 'a.pth')
    with pytest.raises(CheckpointError, match='layers.5.attn.proj.bias of the network is not'):
        load_backbone(network(), tmp_path / 'a.pth')
    ours = network()
    load_backbone(ours, tmp_path / 'a.pth', allow_missing=True)
    assert torch.equal(ours.layers[4].ln1.weight, model.backbone.layers[4].ln1.weight)

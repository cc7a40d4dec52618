"""A ResNet and its pyramid run in mmdet as they did in pre-training."""

import pytest
import torch

from mmmask.checkpoints import CheckpointError, find_tensors, open_checkpoint
from mmmask.checkpoints.exporting import export_backbone
from mmmask.checkpoints.exporting.resnet import without_biases
from mmmask.registry import MODELS


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    """A narrow ResNet-18 with a pyramid after one training step, so that norms have statistics."""
    torch.manual_seed(0)
    norm = dict(type='BN')
    widths = (8, 16, 32, 64)
    model = MODELS.build(
        dict(
            type='mmmask.MaskDeep',
            backbone=dict(
                type='mmpretrain.ResNet',
                depth=18,
                base_channels=8,
                stem_channels=8,
                out_indices=(0, 1, 2, 3),
            ),
            fpn=dict(
                type='mmmask.FeaturePyramid', in_channels=widths, out_channels=16, norm_cfg=norm
            ),
            masking=dict(type='mmmask.FeatureGroupMask', ratios=(0.9,) * 4, num_groups=1),
            neck=dict(
                type='mmmask.DeepMaskingNeck', in_channels=(16,) * 4, embed_dims=32, num_heads=4
            ),
            head=dict(type='mmmask.EmbeddingPredictionHead', hidden_channels=32),
        )
    )
    model.init_weights()
    for name, parameter in model.fpn.named_parameters():
        if name.endswith('conv.bias'):
            torch.nn.init.normal_(parameter)
    model([torch.randn(4, 3, 64, 64) for _ in range(2)], mode='loss')
    path = tmp_path_factory.mktemp('maskdeep') / 'epoch_1.pth'
    torch.save(dict(state_dict=model.state_dict(), meta={}), path)
    return path


def test_backbone_and_pyramid_run_in_mmdet(checkpoint, tmp_path):
    pytest.importorskip('mmdet', reason='detection needs mmdet: pip install mmmask[detection]')
    result = export_backbone(checkpoint, tmp_path / 'detector.pth', target='mmdet')
    assert result.max_difference <= 1e-5
    names = find_tensors(open_checkpoint(tmp_path / 'detector.pth'))
    assert {name.split('.')[0] for name in names} == {'backbone', 'neck'}
    assert not [name for name in names if name.endswith('conv.bias')]
    assert "type='mmdet.FPN'" in result.snippet and 'num_outs=5' in result.snippet
    assert any(name.startswith('target.') for name in result.renaming.left_out)
    assert not any(name.startswith('fpn.') for name in result.renaming.left_out)
    fused = ('fpn.lateral_convs.0.bn.running_mean', 'fpn.lateral_convs.0.conv.bias')
    assert (fused, ('neck.lateral_convs.0.bn.running_mean',)) in result.renaming.matched


@pytest.mark.parametrize('target', ['mmpretrain', 'mmseg'])
def test_backbone_alone(checkpoint, tmp_path, target):
    pytest.importorskip(target)
    export_backbone(checkpoint, tmp_path / 'backbone.pth', target=target)
    before = find_tensors(open_checkpoint(checkpoint))
    after = find_tensors(open_checkpoint(tmp_path / 'backbone.pth'))
    assert {name: True for name in after} == {
        name: torch.equal(after[name], before[name])
        for name in before
        if name.startswith('backbone.')
    }


def test_the_mean_takes_the_bias():
    tensors = {
        'fpn_convs.0.conv.weight': torch.ones(1),
        'fpn_convs.0.conv.bias': torch.tensor([2.0]),
        'fpn_convs.0.bn.running_mean': torch.tensor([5.0]),
    }
    kept = without_biases(tensors)
    assert list(kept) == ['fpn_convs.0.conv.weight', 'fpn_convs.0.bn.running_mean']
    assert kept['fpn_convs.0.bn.running_mean'] == 3


def test_other_targets_and_architectures_are_told(checkpoint, tmp_path):
    with pytest.raises(CheckpointError, match="cannot be exported to target='timm': use one of mm"):
        export_backbone(checkpoint, tmp_path / 'x.pth', target='timm')
    tensors = find_tensors(open_checkpoint(checkpoint))
    tensors.pop('backbone.layer2.1.conv1.weight')
    torch.save(dict(state_dict=tensors, meta={}), tmp_path / 'odd.pth')
    with pytest.raises(CheckpointError, match=r'a ResNet of \(2, 1, 2, 2\) blocks'):
        export_backbone(tmp_path / 'odd.pth', tmp_path / 'x.pth', target='mmpretrain')

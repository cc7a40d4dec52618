"""Learning rate and weight decay of each parameter of detectors and segmentors."""

import re

import pytest
import torch
from conftest import ROOT
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmpretrain.engine.optimizers import LearningRateDecayOptimWrapperConstructor
from mmpretrain.models.backbones import ResNet
from mmseg.engine.optimizers import LearningRateDecayOptimizerConstructor
from torch import nn

from mmmask.engine.optimizers import LayerDecayOptimWrapperConstructor
from mmmask.engine.optimizers.layer_decay import layer_depth
from mmmask.registry import MODELS

DOWNSTREAM = ROOT / 'configs' / 'downstream'


def read(config):
    return Config.fromfile(next(DOWNSTREAM.rglob(f'{config}.py')))


def build(config, **backbone):
    """The model of a config, without memory."""
    cfg = read(config)
    cfg.model.backbone.update(backbone)
    linspace = torch.linspace
    with pytest.MonkeyPatch.context() as patch, torch.device('meta'):
        patch.setattr(torch, 'linspace', lambda *a: linspace(*a, device='cpu'))
        with DefaultScope.overwrite_default_scope(cfg.default_scope):
            return MODELS.build(cfg.model), cfg


def groups_by_name(wrapper, model):
    names = {id(p): n for n, p in model.named_parameters()}
    return {
        names[id(p)]: (g['lr'], g['weight_decay'])
        for g in wrapper.optimizer.param_groups
        for p in g['params']
    }


def wrap(constructor, model, paramwise_cfg, lr=1e-4, weight_decay=0.05):
    optimizer = dict(type='AdamW', lr=lr, weight_decay=weight_decay)
    return constructor(dict(type='OptimWrapper', optimizer=optimizer), paramwise_cfg)(model)


def assert_equal_groups(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, (lr, decay) in ours.items():
        assert lr == pytest.approx(theirs[name][0], rel=1e-6), name
        assert decay == theirs[name][1], name


@pytest.mark.parametrize('kind', ['localmim', 'mae'])
def test_segmentation_vit_has_the_groups_of_beit_and_mae(kind):
    """mmseg's constructor, after BEiT's. It compares bare names, so that tokens do decay."""
    model, cfg = build(f'upernet_vit-base-p16_{kind}_8xb2-amp-160k_ade20k-512x512')
    ours = groups_by_name(build_optim_wrapper(model, cfg.optim_wrapper), model)
    lr = dict(localmim=4e-4, mae=1e-4)[kind]
    theirs = wrap(
        LearningRateDecayOptimizerConstructor,
        model,
        dict(num_layers=12, decay_rate=0.65, decay_type='layer_wise'),
        lr=lr,
    )
    assert_equal_groups(ours, groups_by_name(theirs, model))
    assert ours['backbone.pos_embed'] == (pytest.approx(lr * 0.65**13), 0.05)
    assert ours['backbone.layers.11.gamma_1'] == (pytest.approx(lr * 0.65), 0.0)
    assert ours['decode_head.conv_seg.weight'] == (pytest.approx(lr), 0.05)


def test_detection_vit_has_the_groups_of_vitdet():
    """Ids 0, 1 to 12, 13; nothing but norms and the position table is free of decay."""
    model, cfg = build('mask-rcnn_vit-base-p16_8xb8-amp-lsj-100e_coco')
    cfg.optim_wrapper.type = 'OptimWrapper'
    cfg.optim_wrapper.pop('dtype'), cfg.optim_wrapper.pop('loss_scale')
    ours = groups_by_name(build_optim_wrapper(model, cfg.optim_wrapper), model)
    norms = {
        f'{prefix}.{name}'
        for prefix, module in model.named_modules()
        if isinstance(module, nn.LayerNorm)
        for name, _ in module.named_parameters()
    }
    assert len(norms) == 2 * (2 * 12 + 1 + 2 * 4 + 4 + 4)  # blocks, pyramid, box and mask head
    for name, (lr, decay) in ours.items():
        block = re.match(r'backbone\.layers\.(\d+)\.', name)
        stem = name.startswith(('backbone.patch_embed', 'backbone.pos_embed'))
        depth = int(block[1]) + 1 if block else 0 if stem else 13
        assert lr == pytest.approx(1e-4 * 0.7 ** (13 - depth)), name
        assert decay == (0 if name in norms or name == 'backbone.pos_embed' else 0.1), name


def resnet_classifier(depth):
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return MODELS.build(
            dict(
                type='mmpretrain.ImageClassifier',
                backbone=dict(type='mmpretrain.ResNet', depth=depth),
                neck=dict(type='mmpretrain.GlobalAveragePooling'),
                head=dict(type='mmpretrain.LinearClsHead', num_classes=5, in_channels=2048),
            )
        )


def test_resnet_has_the_groups_of_mmpretrain_in_any_package():
    classifier = resnet_classifier(50)
    options = dict(norm_decay_mult=0, bias_decay_mult=0, flat_decay_mult=0)
    theirs = groups_by_name(
        wrap(
            LearningRateDecayOptimWrapperConstructor,
            classifier,
            dict(layer_decay_rate=0.7) | options,
        ),
        classifier,
    )
    ours = wrap(LayerDecayOptimWrapperConstructor, classifier, dict(layer_decay_rate=0.7))
    assert_equal_groups(groups_by_name(ours, classifier), theirs)

    for backbone in ('mmpretrain.ResNet', 'mmdet.ResNet', 'mmseg.ResNet'):
        detector, _ = build('mask-rcnn_r50_fpn_8xb2-ms-1x_coco', type=backbone)
        ours = wrap(LayerDecayOptimWrapperConstructor, detector, dict(layer_decay_rate=0.7))
        ours = groups_by_name(ours, detector)
        expected = {n: v for n, v in theirs.items() if n.startswith('backbone.')}
        assert_equal_groups({n: v for n, v in ours.items() if n in expected}, expected)
        rest = {lr for n, (lr, _) in ours.items() if n not in expected}
        assert rest == {1e-4}


def test_resnets_that_mmpretrain_does_not_count_go_by_blocks():
    model = nn.Module()
    model.backbone = ResNet(depth=18)
    assert layer_depth(model, 'backbone.conv1.weight') == (0, 6)
    assert layer_depth(model, 'backbone.bn1.weight') == (0, 6)
    for stage in (1, 2, 3, 4):
        assert layer_depth(model, f'backbone.layer{stage}.1.conv2.weight') == (stage, 6)
    assert layer_depth(model, 'neck.lateral_convs.0.conv.weight') == (5, 6)


@pytest.mark.parametrize('kind', ['mmpretrain', 'mmdet', 'mmseg'])
def test_swin_counts_blocks_through_its_stages_in_any_package(kind):
    model, _ = build('mask-rcnn_swin-base-w7_fpn_8xb2-1x_coco')
    reference = {n: layer_depth(model, n) for n, _ in model.named_parameters()}
    if kind != 'mmpretrain':
        options = dict(embed_dims=128, depths=[2, 2, 18, 2], num_heads=[4, 8, 16, 32])
        cfg = dict(type=f'{kind}.SwinTransformer', **options)
        with pytest.MonkeyPatch.context() as patch, torch.device('meta'):
            linspace = torch.linspace
            patch.setattr(torch, 'linspace', lambda *a: linspace(*a, device='cpu'))
            model.backbone = MODELS.build(cfg)
        names = {n for n, _ in model.named_parameters()}
        assert names == reference.keys()
        assert {n: layer_depth(model, n) for n in names} == reference
    assert reference['backbone.patch_embed.projection.weight'] == (0, 26)
    assert reference['backbone.stages.0.downsample.reduction.weight'] == (2, 26)
    assert reference['backbone.stages.2.blocks.0.norm1.weight'] == (5, 26)
    assert reference['backbone.stages.3.blocks.1.norm1.weight'] == (24, 26)
    assert reference['backbone.norm3.weight'] == (25, 26)
    assert reference['rpn_head.rpn_cls.weight'] == (25, 26)


def test_swin_norms_and_position_tables_do_not_decay():
    for config, decay in (
        ('mask-rcnn_swin-base-w7_fpn_8xb2-1x_coco', 0.05),
        ('upernet_swin-base-w7_8xb2-160k_ade20k-512x512', 0.01),
    ):
        model, cfg = build(config)
        ours = groups_by_name(build_optim_wrapper(model, cfg.optim_wrapper), model)
        for name, (lr, weight_decay) in ours.items():
            free = 'norm' in name or 'relative_position_bias_table' in name
            assert weight_decay == (0 if free else decay), name
            assert lr == cfg.optim_wrapper.optimizer.lr


def test_a_backbone_that_tells_nothing_is_named():
    model = nn.Module()
    model.backbone = nn.Sequential(nn.Linear(2, 2))
    with pytest.raises(ValueError, match='Sequential has no get_layer_depth'):
        layer_depth(model, 'backbone.0.weight')

"""MaskDeep: sizes, information flow, and learning."""

import copy
from math import sqrt

import pytest
import torch
import torch.nn.functional as F
from conftest import ROOT
from mmengine.config import Config
from mmpretrain.models import ResNet
from mmpretrain.models.backbones.resnet import Bottleneck
from mmpretrain.models.backbones.vision_transformer import TransformerEncoderLayer

from mmmask.layers import sincos_position_embedding
from mmmask.losses import info_nce, negative_cosine
from mmmask.masking import FeatureGroupMask
from mmmask.models import DeepMaskingNeck, EmbeddingPredictionHead, FeaturePyramid
from mmmask.models.necks.deep_masking import DeepMaskingTransformer
from mmmask.registry import MODELS

BATCH_NORM = dict(type='BN1d')
CHANNELS, SIDES = (64, 128, 256), (8, 4, 2)


class TinyResNet(ResNet):
    """One bottleneck of width 8, 16, 32 and 64 per stage."""

    arch_settings = {14: (Bottleneck, (1, 1, 1, 1))}


def build(backbone=None, masking=None, neck=None, head=None, **options):
    """A small MaskDeep in training mode; a masking of False makes it BYOL."""
    torch.manual_seed(0)
    backbone = dict(out_indices=(1, 2, 3)) | (backbone or {})
    generator = dict(ratios=(0.9, 0.75, 0.5), num_groups=2) | (masking or {})
    neck = dict(embed_dims=64, num_heads=4) | (neck or {})
    model = MODELS.build(
        dict(
            type='mmmask.MaskDeep',
            backbone=dict(type=TinyResNet, depth=14, stem_channels=8, base_channels=8) | backbone,
            masking=None if masking is False else dict(type='mmmask.FeatureGroupMask', **generator),
            neck=dict(type='mmmask.DeepMaskingNeck', norm_cfg=BATCH_NORM) | neck,
            head=dict(
                type='mmmask.EmbeddingPredictionHead', hidden_channels=128, norm_cfg=BATCH_NORM
            )
            | (head or {}),
            **options,
        )
    )
    model.init_weights()
    return model.train()


def build_byol(**options):
    backbone, neck = dict(out_indices=(3,)), dict(fusion=None)
    return build(backbone=backbone, masking=False, neck=neck, **options)


@pytest.fixture
def maps():
    """Leaf tensors instead of feature maps."""
    torch.manual_seed(1)
    return [
        torch.randn(4, width, side, side, requires_grad=True)
        for width, side in zip(CHANNELS, SIDES, strict=True)
    ]


@pytest.fixture
def views():
    """Two views of eight images of 64 px."""
    torch.manual_seed(2)
    return [torch.randn(8, 3, 64, 64) for _ in range(2)]


def frozen_norms(model):
    """Put all norms into evaluation mode, so that rows do not affect each other."""
    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.eval()
    return model


def predict(model, maps, groups):
    return model.head.predict(model.neck(maps, groups))['masked'][:, :, 0]


def grids(maps):
    return [tuple(level.shape[2:]) for level in maps]


def num_trained(module) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


# Sizes


def recipe(name):
    return Config.fromfile(ROOT / f'configs/maskdeep/{name}_16xb256-amp-coslr-200e_in1k.py').model


def test_parameters_of_resnet_50(on_meta):
    model = on_meta(recipe('maskdeep_resnet-50'))
    neck, head = model.neck, model.head
    assert num_trained(model.backbone) == 23_508_032
    sizes = [num_trained(projector) for projector in neck.projectors.values()]
    assert sizes == [789_760, 2_627_840, 9_449_728]
    assert [num_trained(norm) for norm in neck.norms] == [512] * 3
    transformer = neck.transformers['masked']
    assert (neck.level_embed.numel(), transformer.query.numel()) == (768, 256)
    assert [num_trained(layer) for layer in transformer.layers] == [789_760] * 2
    assert num_trained(transformer.norm) == 512
    assert num_trained(head) == 2_109_696
    assert num_trained(model) == 40_067_648
    assert num_trained(model.target) == 0
    assert sum(p.numel() for p in model.target.parameters()) == 32_957_760


def test_parameters_of_byol(on_meta):
    model = on_meta(recipe('maskdeep-m0_resnet-50'))
    assert num_trained(model) == 35_067_456
    assert sum(p.numel() for p in model.target.parameters()) == 32_957_760


def test_parameters_of_the_pyramid():
    pyramid = FeaturePyramid((256, 512, 1024, 2048), norm_cfg=dict(type='BN'))
    lateral, outer = (
        sum(conv.conv.weight.numel() + conv.conv.bias.numel() for conv in convs)
        for convs in (pyramid.lateral_convs, pyramid.fpn_convs)
    )
    assert (lateral, outer) == (984_064, 2_360_320)


def test_shapes_at_224_pixels():
    maps = [torch.randn(2, c, s, s) for c, s in ((512, 28), (1024, 14), (2048, 7))]
    neck = DeepMaskingNeck((512, 1024, 2048), norm_cfg=BATCH_NORM)
    head = EmbeddingPredictionHead(256, neck.weights, norm_cfg=BATCH_NORM)
    lengths = []
    first = neck.transformers['masked'].layers[0]
    first.register_forward_pre_hook(lambda _, inputs: lengths.append(tuple(inputs[0].shape)))
    vectors = neck(maps, FeatureGroupMask()(2, grids(maps)))
    assert lengths == [(8, 71, 256)]
    assert head.predict(vectors)['masked'].shape == (2, 4, 1, 256)


@pytest.fixture
def transformer():
    torch.manual_seed(0)

    def make(fusion):
        built = DeepMaskingTransformer(32, 2, 4, 2, num_queries=2, fusion=fusion)
        built.init_weights()
        for parameter in built.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
        return built

    return make


def test_reading_only_the_queries_changes_nothing(transformer):
    """Compared with blocks that compute every row."""
    joint, tokens = transformer('joint'), torch.randn(3, 7, 32)
    sequence = torch.cat([joint.query.expand(3, -1, -1), tokens], dim=1)
    for layer in joint.layers:
        sequence = TransformerEncoderLayer.forward(layer, sequence)
    torch.testing.assert_close(joint(tokens), joint.norm(sequence[:, :2]))


def test_cross_attention_is_pytorchs(transformer):
    cross, tokens = transformer('cross'), torch.randn(3, 7, 32)
    queries = cross.query.expand(3, -1, -1)
    for layer in cross.layers:
        attention = torch.nn.MultiheadAttention(32, 4, batch_first=True)
        attention.in_proj_weight, attention.in_proj_bias = (
            layer.attn.qkv.weight,
            layer.attn.qkv.bias,
        )
        attention.out_proj = layer.attn.proj
        context = layer.ln1(tokens)
        queries = queries + attention(layer.ln1(queries), context, context)[0]
        queries = layer.ffn(layer.ln2(queries), identity=queries)
    torch.testing.assert_close(cross(tokens), cross.norm(queries))


def test_mean_fusion_averages_the_tokens(transformer):
    mean, tokens = transformer('mean'), torch.randn(3, 7, 32)
    expected = mean.norm(tokens.mean(1))
    torch.testing.assert_close(mean(tokens), torch.stack([expected, expected], dim=1))


# Information flow


def test_gradient_is_at_the_visible_positions_only(maps):
    model = build()
    groups = model.draw_groups(maps)
    predict(model, maps, groups).square().sum().backward()
    for level, visible in zip(maps, groups, strict=True):
        touched = level.grad.abs().sum(1).flatten(1) > 0
        expected = torch.zeros_like(touched).scatter_(1, visible.flatten(1), True)
        assert torch.equal(touched, expected)


def test_momentum_copy_is_isolated(views):
    model = build()
    model(views, mode='loss')['loss'].backward()
    assert all(p.grad is None for p in model.target.parameters())
    assert [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None] == []
    assert not model.embed(views[0]).requires_grad


@pytest.mark.parametrize('num_groups', [1, 2, 4, 8, 16])
def test_the_encoder_runs_once_for_all_groups(num_groups, views):
    model = build(masking=dict(num_groups=num_groups))
    calls = dict(online=0, target=0)
    for name, module in (
        ('online', model.backbone),
        ('target', model.target.module['backbone']),
    ):
        module.register_forward_hook(lambda *_, name=name: calls.update({name: calls[name] + 1}))
    model([*views, views[0].flip(-1)], mode='loss')
    assert calls == dict(online=2, target=3)


def test_same_groups_predict_the_same(maps):
    """The loss then equals that of one group."""
    model = frozen_norms(build())
    targets = torch.randn(4, 1, 1, 64)
    once = [level[:, :1] for level in model.draw_groups(maps)]
    three = [level.expand(-1, 3, -1) for level in once]
    predictions = predict(model, maps, three)
    for group in (1, 2):
        torch.testing.assert_close(predictions[:, group], predictions[:, 0], atol=1e-6, rtol=0)
    losses = [model.head(model.neck(maps, groups), targets)['loss'] for groups in (once, three)]
    torch.testing.assert_close(*losses, atol=1e-6, rtol=0)


def test_a_group_is_a_set(maps):
    model = frozen_norms(build())
    groups = model.draw_groups(maps)
    turned = [level.flip(-1) for level in groups]
    torch.testing.assert_close(
        predict(model, maps, groups), predict(model, maps, turned), atol=1e-6, rtol=0
    )


def test_groups_do_not_see_each_other(maps):
    model = frozen_norms(build())
    groups = model.draw_groups(maps)
    changed = [level.detach().clone().flatten(2) for level in maps]
    for level, visible in zip(changed, groups, strict=True):
        level.scatter_(2, visible[:, :1].expand(-1, level.shape[1], -1), 9.0)
    changed = [level.view_as(like) for level, like in zip(changed, maps, strict=True)]
    before, after = predict(model, maps, groups), predict(model, changed, groups)
    assert torch.equal(before[:, 1], after[:, 1])
    assert not torch.allclose(before[:, 0], after[:, 0])


def test_position_code():
    tables = {side: sincos_position_embedding((side, side), 256, extent=56)[0] for side in (7, 14)}
    assert tables[7].shape == (49, 256)
    norms = tables[7].norm(dim=1)
    torch.testing.assert_close(norms, torch.full((49,), sqrt(128)))

    def cosine(first, second):
        return F.cosine_similarity(first, second, dim=0).item()

    centre = tables[7][24]
    # The centre of the last level is between cells 6 and 7 of the level before.
    assert cosine(centre, tables[14][6 * 14 + 6]) == pytest.approx(0.897, abs=1e-3)
    assert cosine(centre, tables[7][25]) == pytest.approx(0.857, abs=1e-3)
    assert cosine(centre, tables[7][0]) == pytest.approx(0.589, abs=1e-3)


def test_a_token_is_content_place_and_level(maps):
    neck = frozen_norms(build()).neck
    visible = torch.tensor([[[5, 2]]] * 4)
    tokens = neck.embed(1, maps[1], visible)
    content = neck.projectors['1']((maps[1].flatten(2)[:, :, 5],))[0]
    place = sincos_position_embedding((4, 4), 64, extent=56)[0, 5]
    expected = neck.norms[1](content) + place + neck.level_embed[1]
    torch.testing.assert_close(tokens[:, 0, 0], expected)


# Targets and losses


def test_the_first_update_copies_and_later_ones_average():
    model = build()
    online = dict(model.backbone.named_parameters())
    copied = dict(model.target.module['backbone'].named_parameters())
    name = 'layer1.0.conv1.weight'
    online[name].data.fill_(2.0)
    model.target.update()
    assert (copied[name] == 2).all()
    for progress, rate in ((0.0, 0.01), (0.5, 0.005), (1.0, 0.0)):
        copied[name].fill_(1.0)
        model.target.update(progress)
        assert model.target.momentum == pytest.approx(1 - rate)
        torch.testing.assert_close(copied[name], torch.full_like(copied[name], 1 + rate))


def test_target_is_the_projected_mean_of_the_last_map(views):
    model = build()
    target = model.embed(views[0])
    with torch.no_grad():
        pooled = model.backbone(views[0])[-1].mean((2, 3))
        expected = model.neck.projectors['2']((pooled,))[0]
    torch.testing.assert_close(target[:, 0], expected)


def test_loss_by_hand():
    head = EmbeddingPredictionHead(norm_cfg=BATCH_NORM, in_channels=4, hidden_channels=8)
    torch.manual_seed(0)
    prediction, first, second = (torch.randn(5, 1, 1, 4) for _ in range(3))
    for sign in (1, -1):
        assert head.loss(prediction, sign * 7 * prediction).item() == pytest.approx(-2 * sign)
    both = torch.cat([first, second], dim=1)
    unit = [F.normalize(tensor.flatten(1)) for tensor in (prediction, first, second)]
    expected = -2 * (unit[0] * (unit[1] + unit[2]) / 2).sum(1).mean()
    torch.testing.assert_close(head.loss(3 * prediction, both), expected)
    head.target_reduce = 'vector_mean'
    expected = -2 * (unit[0] * F.normalize(unit[1] + unit[2])).sum(1).mean()
    torch.testing.assert_close(head.loss(prediction, 5 * both), expected)


def test_groups_and_targets_are_averaged():
    torch.manual_seed(0)
    prediction, targets = torch.randn(3, 4, 2, 8), torch.randn(3, 2, 2, 8)
    pairs = [
        -F.cosine_similarity(prediction[:, group], targets[:, target], dim=-1).mean()
        for group in range(4)
        for target in range(2)
    ]
    torch.testing.assert_close(negative_cosine(prediction, targets), torch.stack(pairs).mean())
    assert negative_cosine(prediction.bfloat16(), targets).dtype == torch.float32


def test_infonce_takes_other_images_as_negatives():
    head = EmbeddingPredictionHead(loss='infonce', norm_cfg=BATCH_NORM, in_channels=8)
    torch.manual_seed(0)
    prediction, targets = torch.randn(6, 3, 2, 8), torch.randn(6, 2, 2, 8)
    losses = [
        info_nce(prediction[:, group, query], targets[:, target, query], 0.2)[0]
        for query in range(2)
        for group in range(3)
        for target in range(2)
    ]
    torch.testing.assert_close(head.loss(prediction, targets), torch.stack(losses).mean())


@pytest.mark.parametrize('make', [build, build_byol])
def test_loss_at_the_start_is_near_zero(make, views):
    assert abs(make()(views, mode='loss')['loss'].item()) < 0.5


def test_a_view_predicts_the_others(views):
    """By hand, without masks and with norms in evaluation mode."""
    model = frozen_norms(build_byol())
    views = [*views, views[0].flip(-1)]
    with torch.no_grad():
        targets = [model.embed(view) for view in views]
        own = [model.head.predict(model.neck(model.encode(view)))['global'] for view in views[:2]]
    pairs = {
        (v, t): F.cosine_similarity(own[v][:, 0, 0], targets[t][:, 0], dim=1).mean()
        for v in range(2)
        for t in range(3)
    }
    expected = -2 * (pairs[0, 1] + pairs[0, 2]) / 2 - 2 * (pairs[1, 0] + pairs[1, 2]) / 2
    torch.testing.assert_close(model(views, mode='loss')['loss'], expected)
    model.include_self_target = True
    expected = -2 * sum(pairs.values()) / 3
    torch.testing.assert_close(model(views, mode='loss')['loss'], expected)


def test_levels_have_separate_losses(views):
    model = build(neck=dict(fusion='per_level', global_weight=0.5))
    expected = dict(level0=0.4 / 2.1, level1=0.7 / 2.1, level2=1 / 2.1)
    assert model.neck.weights == pytest.approx({**expected, 'global': 0.5})
    losses = model(views, mode='loss')
    assert list(losses) == ['loss_level0', 'loss_level1', 'loss_level2', 'loss_global']
    sum(losses.values()).backward()
    assert [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None] == []


def test_several_targets_have_separate_queries_and_projectors(views):
    targets = ((0, 'mean'), (1, 'mean'), (-1, 'mean'), (-1, 'max'))
    model = build(neck=dict(targets=targets))
    assert model.neck.transformers['masked'].query.shape == (1, 4, 64)
    assert len(model.head.predictors['masked']) == 4
    assert list(model.target.module['projectors']) == ['0', '1', '2']
    embedded = model.embed(views[0])
    with torch.no_grad():
        pooled = model.backbone(views[0])[-1].amax((2, 3))
        expected = model.neck.projectors['2']((pooled,))[0]
    torch.testing.assert_close(embedded[:, 3], expected)
    model(views, mode='loss')['loss'].backward()
    assert [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None] == []


# Whole models


@pytest.mark.parametrize(
    'options',
    [
        {},
        dict(neck=dict(fusion='cross'), masking=dict(aligned=True)),
        dict(neck=dict(fusion='mean'), masking=dict(disjoint=False)),
        dict(head=dict(loss='infonce')),
    ],
    ids=['joint', 'cross', 'mean', 'infonce'],
)
def test_it_overfits(options):
    """32 random images with two fixed views; targets change by 1 % per step, no collapse."""
    model = build(**options, final_momentum=0.99)
    torch.manual_seed(3)
    views = [torch.randn(32, 3, 64, 64) for _ in range(2)]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    history = []
    for _ in range(45 if not options else 10):
        loss = model(views, mode='loss')['loss']
        history.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        model.target.update()
    target = F.normalize(model.embed(views[0])[:, 0], dim=1)
    assert target.std(0).mean() > 0.06
    assert history[-1] < history[0] - 0.3
    if not options:
        assert abs(history[0]) < 0.5 and history[-1] < -3.3


@pytest.mark.parametrize('name', ['ConvNeXt', 'SwinTransformer'])
def test_any_encoder_with_stage_maps_fits(name, views):
    """ConvNeXt and Swin with maps of 16, 32 and 64 channels."""
    arch = dict(
        ConvNeXt=dict(depths=[1, 1, 1, 1], channels=[8, 16, 32, 64]),
        SwinTransformer=dict(embed_dims=8, depths=[1] * 4, num_heads=[1, 1, 2, 2]),
    )[name]
    special = (
        dict(gap_before_final_norm=False)
        if name == 'ConvNeXt'
        else dict(img_size=64, window_size=2)
    )
    backbone = dict(type=f'mmpretrain.{name}', arch=arch, **special)
    model = MODELS.build(
        dict(
            type='mmmask.MaskDeep',
            backbone=dict(backbone, out_indices=(1, 2, 3)),
            masking=dict(type='mmmask.FeatureGroupMask', ratios=(0.9, 0.75, 0.5), num_groups=2),
            neck=dict(
                type='mmmask.DeepMaskingNeck',
                in_channels=(16, 32, 64),
                embed_dims=32,
                num_heads=4,
                norm_cfg=BATCH_NORM,
            ),
            head=dict(
                type='mmmask.EmbeddingPredictionHead', hidden_channels=64, norm_cfg=BATCH_NORM
            ),
        )
    )
    model.init_weights()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    history = []
    for _ in range(12):
        loss = model(views, mode='loss')['loss']
        history.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
        optimizer.step()
    assert history[-1] < history[0] - 0.5


def test_pyramid_between_encoder_and_neck(views):
    """A level is its own projection plus the upsampled coarser ones; the copy has a pyramid too."""
    model = build(
        backbone=dict(out_indices=(0, 1, 2, 3)),
        fpn=dict(type='mmmask.FeaturePyramid', out_channels=16, norm_cfg=dict(type='BN')),
        masking=dict(ratios=(0.95, 0.9, 0.75, 0.5)),
    )
    model(views, mode='loss')['loss'].backward()
    assert [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None] == []
    assert 'target.module.fpn.fpn_convs.3.conv.weight' in model.state_dict()
    model.eval()
    with torch.no_grad():
        maps = model.backbone(views[0])
        pyramid = model.fpn(maps)
        lateral = [conv(level) for conv, level in zip(model.fpn.lateral_convs, maps, strict=True)]
        repeated = [
            level.repeat_interleave(2**times, 2).repeat_interleave(2**times, 3)
            for times, level in enumerate(lateral[1:])
        ]
        expected = model.fpn.fpn_convs[1](sum(repeated))
    torch.testing.assert_close(pyramid[1], expected)


def test_backbone_loads_into_a_plain_resnet(views):
    model = build().eval()
    tensors = {
        name.removeprefix('backbone.'): tensor
        for name, tensor in model.state_dict().items()
        if name.startswith('backbone.')
    }
    plain = copy.deepcopy(model.backbone)
    for parameter in plain.parameters():
        parameter.data.zero_()
    plain.load_state_dict(tensors, strict=True)
    with torch.no_grad():
        for ours, theirs in zip(model(views[0]), plain(views[0]), strict=True):
            assert torch.equal(ours, theirs)


def test_predict_returns_what_the_loss_compares(views):
    model = frozen_norms(build())
    torch.manual_seed(7)
    shown = model(views[0], mode='predict')
    assert shown.grids == ((8, 8), (4, 4), (2, 2))
    with torch.no_grad():
        again = model.head.predict(model.neck(model.encode(views[0]), shown.groups))
    assert torch.equal(shown.prediction['masked'], again['masked'])
    assert torch.equal(shown.target, model.embed(views[0]))


def test_small_and_oblong_images():
    """At 32 px the last map has one position, so its two groups cannot be disjoint."""
    model = build()
    for size, last in (((32, 32), 1), ((64, 96), 6)):
        images = torch.randn(4, 3, *size)
        shown = model(images, mode='predict')
        assert shown.groups[-1].max() < last
        assert model([images, images], mode='loss')['loss'].isfinite()


# Errors


def test_the_last_stage_is_needed():
    with pytest.raises(ValueError, match=r'out_indices=\(1, 2\) must end with 3'):
        build(backbone=dict(out_indices=(1, 2)))


def test_a_view_needs_another(views):
    with pytest.raises(ValueError, match='MaskDeep compares 2 views of each image but got 1'):
        build(num_views=1)(views[0], mode='loss')
    with pytest.raises(ValueError, match='compares 2 views of each image but got 1'):
        build()(views[:1], mode='loss')
    assert build(num_views=1, include_self_target=True)(views[:1], mode='loss')['loss'].isfinite()


@pytest.mark.parametrize(
    ('neck', 'message'),
    [
        (dict(fusion='sum'), "fusion='sum' is not one of"),
        (dict(depth=0), "depth=0 must be at least 1; use fusion='mean'"),
        (dict(targets=((3, 'mean'),)), r"\(3, 'mean'\) must be a level of 3"),
        (dict(targets=((0, 'median'),)), "one of \\['max', 'mean'\\]"),
        (dict(level_weights=(1.0,)), 'must have one value for each level'),
    ],
)
def test_errors_name_the_key(neck, message):
    with pytest.raises(ValueError, match=message):
        build(neck=neck)


def test_unknown_options_of_the_head():
    with pytest.raises(ValueError, match="loss='l2' is not one of"):
        EmbeddingPredictionHead(8, loss='l2')
    with pytest.raises(ValueError, match="target_reduce='sum' is not one of"):
        EmbeddingPredictionHead(8, target_reduce='sum')

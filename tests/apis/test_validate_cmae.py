"""Errors in configs of the two methods called CMAE."""

import pytest
from test_validate import REMOVED, demo, errors

from mmmask.apis.validate import validate_config

MAO, HUANG = 'cmae-mao_vit', 'cmae-huang_vit'
WRONG = {
    'temperature': (
        MAO,
        dict(model__contrast_head__temperature=0),
        'model.contrast_head.temperature=0 must be above 0, for example 0.07 to 1',
    ),
    'momentum': (
        HUANG,
        dict(model__momentum=1.2),
        'model.momentum=1.2 must lie in [0, 1], for example 0.99 to 0.9999',
    ),
    'no hook for the copy': (
        MAO,
        dict(custom_hooks__1__type='EmptyCacheHook'),
        'model.momentum_copy: nothing updates this during training; add '
        "dict(type='mmmask.MomentumUpdateHook') to the hooks",
    ),
    'no hook for the copy of the other method': (
        HUANG,
        dict(custom_hooks__0__type='EmptyCacheHook'),
        'model.momentum_copy: nothing updates this during training; add '
        "dict(type='mmmask.MomentumUpdateHook') to the hooks",
    ),
    'source': (
        MAO,
        dict(model__source='encoder_clss'),
        "model.source='encoder_clss' is not one of ('encoder_cls', 'mean_patch', 'decoder_cls')",
    ),
    'target': (
        MAO,
        dict(model__target='momentum_heads'),
        "model.target='momentum_heads' is not one of ('momentum_encoder', 'momentum_head', "
        "'stopgrad', 'simclr')",
    ),
    'weight': (
        MAO,
        dict(model__position_weight=-1),
        'model.position_weight=-1 must be 0 or more; 0 turns the task off',
    ),
    'class attention where the class token is not contrasted': (
        MAO,
        dict(model__source='mean_patch'),
        "custom_hooks.0.heat_map='cls_attn' needs a class token that is trained to find the "
        "object: use 'feat_norm' or 'feat_sum'",
    ),
    'width of the projector': (
        MAO,
        dict(model__projector__in_channels=768),
        'model.projector.in_channels=768 must be 128, the width of model.backbone: leave it out',
    ),
    'width of the predictor': (
        HUANG,
        dict(model__contrast_head__predictor__in_channels=32),
        'model.contrast_head.predictor.in_channels=32 must be 64, the width of the '
        'projections: leave it out',
    ),
    'features of another width than their target': (
        HUANG,
        dict(model__feature_decoder__out_channels=768),
        'model.feature_decoder.out_channels=768 must be 128, the width of model.backbone: '
        'leave it out',
    ),
    'feature decoder that does not fit the encoder': (
        HUANG,
        dict(model__feature_decoder__in_channels=768),
        'model.feature_decoder.in_channels=768 must be 128, the width of model.backbone: '
        'leave it out',
    ),
    'number of positions': (
        MAO,
        dict(model__position_head__num_positions=196),
        'model.position_head.num_positions=196 must be 64, the patches of '
        'model.backbone.img_size: leave it out',
    ),
    'width of the position head': (
        MAO,
        dict(model__position_head__in_channels=768),
        'model.position_head.in_channels=768 must be 128, the width of model.backbone: leave '
        'it out',
    ),
    'position loss': (
        MAO,
        dict(model__position_head__loss='cee'),
        "model.position_head.loss='cee' is not one of ('mse_onehot', 'ce')",
    ),
    'smoothing that never falls': (
        MAO,
        dict(model__position_head__smoothing=1.0),
        'model.position_head: nothing updates this during training; add '
        "dict(type='mmmask.ProgressHook') to the hooks",
    ),
    'one image at a time': (
        MAO,
        dict(train_dataloader__batch_size=1),
        'train_dataloader.batch_size=1 must be at least 2: images are compared with one another',
    ),
    'a single view in MultiView': (
        HUANG,
        dict(train_dataloader__dataset__pipeline__1__num_views=[1]),
        'train_dataloader.dataset.pipeline.1.num_views=[1] gives 1 view(s) of each image, but '
        'mmmask.CMAEHuang compares 2: add views',
    ),
}


@pytest.mark.parametrize('name', WRONG)
def test_a_wrong_config_gives_key_value_and_remedy(name):
    model, changes, expected = WRONG[name]
    assert errors(demo(model, **changes)) == [expected]


def test_a_single_view():
    cfg = demo(HUANG)
    del cfg.train_dataloader.dataset.pipeline[1]
    reported = [line for line in errors(cfg) if 'view' in line]
    assert reported == [
        "train_dataloader.dataset.pipeline=['mmpretrain.RandomResizedCrop', "
        "'mmpretrain.PackInputs'] gives 1 view(s) of each image, but mmmask.CMAEHuang compares 2: "
        "use dict(type='mmpretrain.MultiView', num_views=[1, 1], transforms=[[...], [...]])"
    ]


def test_tasks_that_are_off_need_nothing():
    cfg = demo(MAO, model__contrast_weight=0.0, model__position_weight=0.0)
    cfg.model.position_head.num_positions = 7
    cfg.model.projector.in_channels = 7
    del cfg.custom_hooks[1]
    validate_config(cfg)


def test_a_target_without_copy_needs_no_hook():
    cfg = demo(MAO, model__target='stopgrad', model__momentum=REMOVED)
    del cfg.custom_hooks[1]
    validate_config(cfg)

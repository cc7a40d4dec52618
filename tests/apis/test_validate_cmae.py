"""What is told about configs of the two methods called CMAE."""

import pytest
from test_validate import REMOVED, demo, errors

from mmmask.apis.validate import validate_config

MAO, HUANG = 'cmae-mao_vit', 'cmae-huang_vit'
NO_MOVER = "never moves on, add dict(type='mmmask.MomentumUpdateHook') to the hooks"
WRONG = {
    'temperature': (
        MAO,
        dict(model__contrast_head__temperature=0),
        'model.contrast_head.temperature = 0: must be above 0, such as 0.07 to 1',
    ),
    'momentum': (
        HUANG,
        dict(model__momentum=1.2),
        'model.momentum = 1.2: must lie in [0, 1], the share of the old copy, such as 0.999',
    ),
    'no hook for the copy': (
        MAO,
        dict(custom_hooks__1__type='EmptyCacheHook'),
        f'model.momentum = 0.99: {NO_MOVER}',
    ),
    'no hook for the copy of the other method': (
        HUANG,
        dict(custom_hooks__0__type='EmptyCacheHook'),
        f'model.momentum = 0.99: {NO_MOVER}',
    ),
    'source': (
        MAO,
        dict(model__source='encoder_clss'),
        "model.source = 'encoder_clss': no such source, did you mean 'encoder_cls'?",
    ),
    'target': (
        MAO,
        dict(model__target='momentum_heads'),
        "model.target = 'momentum_heads': no such target, did you mean 'momentum_head'?",
    ),
    'weight': (
        MAO,
        dict(model__position_weight=-1),
        'model.position_weight = -1: must be a number, 0 to do without the task',
    ),
    'class attention where the class token is not contrasted': (
        MAO,
        dict(model__source='mean_patch'),
        "custom_hooks.0.heat_map = 'cls_attn': looks at the class token, but model.source = "
        "'mean_patch' does not train it to find the object, use 'feat_norm'",
    ),
    'width of the projector': (
        MAO,
        dict(model__projector__in_channels=768),
        'model.projector.in_channels = 768: must be 128, the width of model.backbone',
    ),
    'width of the predictor': (
        HUANG,
        dict(model__contrast_head__predictor__in_channels=32),
        'model.contrast_head.predictor.in_channels = 32: must be 64, the width of '
        'model.projector.out_channels',
    ),
    'features of another width than their target': (
        HUANG,
        dict(model__feature_decoder__out_channels=768),
        'model.feature_decoder.out_channels = 768: must be 128, the width of model.backbone',
    ),
    'feature decoder that does not fit the encoder': (
        HUANG,
        dict(model__feature_decoder__in_channels=768),
        'model.feature_decoder.in_channels = 768: must be 128, the width of its tap of '
        'model.backbone',
    ),
    'number of positions': (
        MAO,
        dict(model__position_head__num_positions=196),
        'model.position_head.num_positions = 196: must be 64, the patches of '
        'train_dataloader.dataset.pipeline.0.transforms.0.0.scale = (64, 64)',
    ),
    'width of the position head': (
        MAO,
        dict(model__position_head__in_channels=768),
        'model.position_head.in_channels = 768: must be 128, the width of model.backbone',
    ),
    'position loss': (
        MAO,
        dict(model__position_head__loss='cee'),
        "model.position_head.loss = 'cee': no such loss, did you mean 'ce'?",
    ),
    'smoothing that never falls': (
        MAO,
        dict(model__position_head__smoothing=1.0),
        'model.position_head.smoothing = 1.0: never moves on, add '
        "dict(type='mmmask.ProgressHook') to the hooks",
    ),
    'one image at a time': (
        MAO,
        dict(train_dataloader__batch_size=1),
        'train_dataloader.batch_size = 1: must be at least 2, images are compared with one another',
    ),
    'a single view in MultiView': (
        HUANG,
        dict(train_dataloader__dataset__pipeline__1__num_views=[1]),
        'train_dataloader.dataset.pipeline.1.num_views = [1]: gives 1 view of each image, but '
        "mmmask.CMAEHuang compares 2, use dict(type='mmpretrain.MultiView', num_views=[1, 1], "
        'transforms=[[...], [...]])',
    ),
}


@pytest.mark.parametrize('name', WRONG)
def test_wrong_config_is_told_key_value_and_remedy(name):
    model, changes, expected = WRONG[name]
    assert errors(demo(model, **changes)) == [expected]


def test_a_single_view():
    cfg = demo(HUANG)
    del cfg.train_dataloader.dataset.pipeline[1]
    told = [line for line in errors(cfg) if 'view' in line]
    assert told == [
        "train_dataloader.dataset.pipeline = ['mmpretrain.RandomResizedCrop', "
        "'mmpretrain.PackInputs']: gives 1 view of each image, but mmmask.CMAEHuang compares 2, "
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

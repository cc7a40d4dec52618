"""Errors in configs of MaskDeep."""

import pytest
from conftest import ROOT, errors_but_for_data
from mmengine.config import Config

from mmmask.apis.validate import ConfigError, validate_config

DIGITS = 'configs/demo/maskdeep_resnet-tiny_digits.py'
TINY = 'configs/maskdeep/maskdeep_resnet-18_1xb256-amp-coslr-200e_tiny-imagenet-64px.py'
PYRAMID = 'configs/maskdeep/maskdeep-fpn_resnet-50_16xb256-amp-coslr-200e_in1k.py'


def errors(config, **changes) -> list[str]:
    """What is wrong with a config whose dotted keys, written with two underscores, are changed."""
    cfg = Config.fromfile(ROOT / config)
    cfg.merge_from_dict({key.replace('__', '.'): value for key, value in changes.items()})
    return errors_but_for_data(cfg)


@pytest.mark.parametrize('config', [DIGITS, TINY, PYRAMID])
def test_the_configs_are_right(config):
    assert errors(config) == []


WRONG = {
    'channels of another encoder': (
        dict(model__neck__in_channels=(64, 128, 256)),
        'model.neck.in_channels=(64, 128, 256) must be (32, 64, 128), the channels of the '
        'maps of model.backbone: leave it out',
    ),
    'without the last stage': (
        dict(
            model__backbone__out_indices=(0, 1, 2),
            model__neck__in_channels=(16, 32, 64),
        ),
        'model.backbone.out_indices=(0, 1, 2) must end with 3, the last stage, from which '
        'the target is pooled',
    ),
    'ratios for other levels': (
        dict(model__masking__ratios=(0.5, 0.5)),
        'model.masking.ratios=(0.5, 0.5) must be 3 fractions, one for each level of the neck',
    ),
    'a ratio that hides everything': (
        dict(model__masking__ratios=(0.5, 0.5, 1.0)),
        'model.masking.ratios=(0.5, 0.5, 1.0) must lie in [0, 1): the fraction of positions '
        'to hide at each level, such as 0.75',
    ),
    'no group': (
        dict(model__masking__num_groups=0),
        'model.masking.num_groups=0 must be at least 1',
    ),
    'heads that do not divide the width': (
        dict(model__neck__num_heads=5),
        'model.neck.embed_dims=64 must be divisible by num_heads=5 and by 4',
    ),
    'a target of a level that is not there': (
        dict(model__neck__targets=((3, 'mean'), (-1, 'mean'))),
        "model.neck.targets=((3, 'mean'), (-1, 'mean')): (3, 'mean') must be a level of 3 and "
        "one of ['max', 'mean']",
    ),
    'more views than the data has': (
        dict(model__num_views=3),
        'train_dataloader.dataset.pipeline.0.num_views=[2] gives 2 view(s) of each image, but '
        'mmmask.MaskDeep compares 3: add views',
    ),
    'a momentum above one': (
        dict(model__momentum=1.1),
        'model.momentum=1.1 must lie in [0, 1], for example 0.99 to 0.9999',
    ),
    'a monitor of something else': (
        dict(default_hooks__collapse__module='target.module.projectors.1'),
        "default_hooks.collapse.module='target.module.projectors.1' is not a module of the "
        "model: did you mean 'target.module.projectors.2'?",
    ),
    'a misspelt key': (
        dict(model__masking__num_group=2),
        'model.masking.num_group=2 is an unknown key of mmmask.FeatureGroupMask: did you mean '
        "'num_groups'?",
    ),
}


@pytest.mark.parametrize('name', WRONG)
def test_a_wrong_config_gives_key_value_and_remedy(name):
    changes, message = WRONG[name]
    assert errors(DIGITS, **changes) == [message]


def test_masks_and_fusion_go_together():
    assert errors(DIGITS, model__neck__fusion=None) == [
        "model.neck.fusion=None reads only the levels of targets=((-1, 'mean'),), but there are "
        '3, and the others would not be trained: set backbone.out_indices to the levels that are '
        'read'
    ]
    assert errors(DIGITS, model__neck__fusion=None, model__backbone__out_indices=(3,)) == [
        'model: neck.fusion and masking go together: give both, or set both to None for BYOL'
    ]
    assert errors(DIGITS, model__masking=None) == [
        'model: neck.fusion and masking go together: give both, or set both to None for BYOL'
    ]


def test_targets_need_their_hook():
    cfg = Config.fromfile(ROOT / DIGITS)
    cfg.default_hooks.pop('momentum')
    with pytest.raises(ConfigError, match='model.target: nothing updates this during training'):
        validate_config(cfg)


def test_views_made_on_the_device_count():
    views = [dict(blur=1.0)]
    (message,) = errors(TINY, model__data_preprocessor__views=views)
    assert message == (
        "model.data_preprocessor.views=[{'blur': 1.0}] gives 1 view(s) of each image, but "
        'mmmask.MaskDeep compares 2: add views'
    )


def test_a_pyramid_decides_the_channels():
    wrong = dict(model__fpn__out_channels=128, model__neck__in_channels=(256, 256, 256, 256))
    assert errors(PYRAMID, **wrong) == [
        'model.neck.in_channels=(256, 256, 256, 256) must be (128, 128, 128, 128), the channels of '
        'the maps of model.fpn: leave it out'
    ]

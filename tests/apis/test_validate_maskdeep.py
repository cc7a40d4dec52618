"""What MaskDeep's parts must agree on is told before a run."""

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
        'model.neck.in_channels = (64, 128, 256): must be [32, 64, 128], the channels of the maps '
        'of model.backbone',
    ),
    'without the last stage': (
        dict(
            model__backbone__out_indices=(0, 1, 2),
            model__neck__in_channels=(16, 32, 64),
        ),
        'model.backbone.out_indices = (0, 1, 2): must end with 3, the last stage, of which the '
        'target is made',
    ),
    'ratios for other levels': (
        dict(model__masking__ratios=(0.5, 0.5)),
        'model.masking.ratios = (0.5, 0.5): must be 3 ratios, one for each level of model.neck',
    ),
    'a ratio that hides everything': (
        dict(model__masking__ratios=(0.5, 0.5, 1.0)),
        'model.masking.ratios = (0.5, 0.5, 1.0): must lie in [0, 1), the share of positions to '
        'hide, such as 0.75',
    ),
    'no group': (
        dict(model__masking__num_groups=0),
        'model.masking.num_groups = 0: must be a whole number, at least 1',
    ),
    'heads that do not divide the width': (
        dict(model__neck__num_heads=5),
        'model.neck.num_heads = 5: must divide embed_dims = 64',
    ),
    'a target of a level that is not there': (
        dict(model__neck__targets=((3, 'mean'), (-1, 'mean'))),
        "model.neck.targets = ((3, 'mean'), (-1, 'mean')): levels are 0 to 2, or counted from -1 "
        'backwards',
    ),
    'more views than the data has': (
        dict(model__num_views=3),
        'model.num_views = 3: the data has 2 view(s) of each image but 3 are needed, add some to '
        'MultiView or lower it',
    ),
    'a momentum above one': (
        dict(model__momentum=1.1),
        'model.momentum = 1.1: must lie in [0, 1], such as 0.99',
    ),
    'a monitor of something else': (
        dict(default_hooks__collapse__module='target.module.projectors.1'),
        "default_hooks.collapse.module = 'target.module.projectors.1': does not give the targets, "
        'use target.module.projectors.2',
    ),
    'a misspelt key': (
        dict(model__masking__num_group=2),
        'model.masking.num_group = 2: unknown key of mmmask.FeatureGroupMask, '
        "did you mean 'num_groups'?",
    ),
}


@pytest.mark.parametrize('name', WRONG)
def test_what_is_wrong_is_told(name):
    changes, message = WRONG[name]
    assert errors(DIGITS, **changes) == [message]


def test_masks_and_fusion_go_together():
    first, second = errors(DIGITS, model__neck__fusion=None)
    assert first == (
        'model.neck.fusion = None: masking and neck.fusion go together: give both, or set both to '
        'None for BYOL'
    )
    assert second == (
        'model.neck.in_channels = (32, 64, 128): without masking only level 2 is read, the others '
        'would not train'
    )


def test_targets_need_their_hook():
    cfg = Config.fromfile(ROOT / DIGITS)
    cfg.default_hooks.pop('momentum')
    with pytest.raises(ConfigError, match='model.momentum = 0.99: never moves on'):
        validate_config(cfg)


def test_views_made_on_the_device_count():
    views = [dict(blur=1.0)]
    (message,) = errors(TINY, model__data_preprocessor__views=views)
    assert message.startswith('model.num_views = 2: the data has 1 view(s) of each image but 2')


def test_a_pyramid_decides_the_channels():
    (message,) = errors(PYRAMID, model__fpn__out_channels=128)
    assert message == (
        'model.neck.in_channels = (256, 256, 256, 256): must be [128, 128, 128, 128], the channels '
        'of the maps of model.backbone behind model.fpn'
    )

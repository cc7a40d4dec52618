"""Constructors own their rules: a trial on the meta device collects what they refuse."""

import random

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.model import BaseModule
from mmengine.registry import Registry
from mmengine.runner.checkpoint import CheckpointLoader
from test_validate import demo, errors
from torch import nn

from mmmask.apis import config_trial
from mmmask.apis.config_nodes import find_nodes
from mmmask.apis.validate import validate_config
from mmmask.models import MaskedImageModel
from mmmask.registry import DATASETS, HOOKS, MODELS


@MODELS.register_module()
class NewMethod(MaskedImageModel):
    """A method that nobody has heard of before this test."""


@MODELS.register_module()
class NewNeck(BaseModule):
    def __init__(self, in_channels, out_channels, strength=1.0, init_cfg=None):
        super().__init__(init_cfg)
        if strength <= 0:
            raise ValueError(f'strength={strength} must be above 0.')
        self.project = nn.Linear(in_channels, out_channels)


@HOOKS.register_module()
class NewHook(Hook):
    def __init__(self, patience=1):
        if patience < 1:
            raise ValueError(f'patience={patience} must be at least 1.')


@DATASETS.register_module()
class Unreadable:
    def __init__(self, **kwargs):
        pytest.fail('data was read')


def new_method(**neck) -> Config:
    neck = dict(type='mmmask.NewNeck', _delete_=True, **neck)
    return demo('mae_vit', model__type='mmmask.NewMethod', model__neck=neck)


def test_a_new_method_is_covered():
    validate_config(new_method())
    assert errors(new_method(in_channels=99)) == [
        'model.neck.in_channels=99 must be 128, the width of model.backbone: leave it out'
    ]
    assert errors(new_method(strength=-1)) == ['model.neck.strength=-1 must be above 0']


@pytest.mark.parametrize(
    'model',
    ['mae_vit', 'localmim_vit', 'localmim_swin', 'cmae-mao_vit', 'cmae-huang_vit', 'ehm_vit'],
)
def test_a_wrong_width_is_reported_in_every_method(model):
    cfg = demo(model)
    decoders = cfg.model.neck.get('decoders')
    decoder = decoders[1] if decoders else cfg.model.neck
    decoder.in_channels = 99
    (error,) = errors(cfg)
    path = 'model.neck.decoders.1' if decoders else 'model.neck'
    assert error.startswith(f'{path}.in_channels=99 must be ')


def test_errors_of_different_components_come_together():
    """An error neither hides those of other components nor leads to errors that are none."""
    cfg = new_method(strength=0, in_channels=99)
    cfg.model.masking.ratio = 75
    cfg.model.backbone.drop_path_rte = 0.1
    cfg.custom_hooks = [dict(type='mmmask.NewHook', patience=0)]
    cfg.param_scheduler.warmup_epochs = -1
    assert errors(cfg) == [
        'model.backbone.drop_path_rte=0.1 is an unknown key of mmmask.MaskedVisionTransformer: '
        "did you mean 'drop_path_rate'?",
        'model.masking.ratio=75 must lie in (0, 1): the fraction of patches to hide, such as 0.75',
        'model.neck.in_channels=99 must be 128, the width of model.backbone: leave it out',
        'model.neck.strength=0 must be above 0',
        'param_scheduler.warmup_epochs=-1 must lie in [0, 20), the length of the run: lower it or '
        'raise train_cfg.max_epochs',
        'custom_hooks.0.patience=0 must be at least 1',
    ]


def test_a_component_that_failed_leads_to_no_other_errors():
    """What it would have derived is unknown, and so are the defaults of components behind it."""
    cfg = new_method(strength=-1)
    cfg.model.backbone.arch = 'unknown'
    first, second = errors(cfg)
    assert first.startswith("model.backbone.arch='unknown' ")
    assert second == 'model.neck.strength=-1 must be above 0'


def test_no_data_is_read_and_no_weights_are_loaded(monkeypatch):
    monkeypatch.setattr(CheckpointLoader, 'load_checkpoint', lambda *_: pytest.fail('loaded'))
    cfg = new_method(in_channels=99)
    cfg.model.backbone.init_cfg = dict(type='Pretrained', checkpoint='https://no.such/file.pth')
    data = dict(type='mmmask.Unreadable', source='no/such')
    cfg.train_dataloader.dataset = data
    cfg.custom_hooks = [dict(type='mmmask.ReconstructionHook', dataset=data)]
    assert len(errors(cfg)) == 1
    cfg.train_dataloader.dataset = dict(type='mmmask.ImageFolder', source='no/such')
    assert len(errors(cfg)) == 2


def test_nothing_is_left_behind():
    def state():
        return torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()

    before = state(), Registry.build, torch.linspace, torch.get_default_device()
    validate_config(demo('cmae-mao_vit'))
    assert before == (state(), Registry.build, torch.linspace, torch.get_default_device())


def test_models_take_no_memory():
    trial = config_trial.Trial(find_nodes(dict(demo('cmae-mao_vit').items())))
    devices = {tensor.device.type for tensor in trial.built['model'].state_dict().values()}
    assert devices == {'meta'}


def test_what_a_method_leaves_out_is_not_built():
    cfg = demo('cmae-mao_vit', model__position_weight=0.0, model__position_head__loss='cee')
    validate_config(cfg)


def test_parameter_groups():
    path = 'optim_wrapper__paramwise_cfg__layer_decay'
    (error,) = errors(demo('mae_vit', **{path: 0.7}))
    assert error.startswith('optim_wrapper.paramwise_cfg={')
    assert "has unknown keys ['layer_decay']" in error


def test_encoders_of_other_packages_get_images_that_patches_tile():
    backbone = dict(_delete_=True, type='mmpretrain.VisionTransformer', img_size=64, patch_size=8)
    changes = dict(model__type='mmpretrain.ImageClassifier', model__backbone=backbone)
    cfg = demo('mae_vit', train_dataloader__dataset__pipeline__0__scale=60, **changes)
    for key in ('masking', 'neck', 'target_generator', 'head'):
        cfg.model.pop(key)
    assert errors(cfg) == [
        'train_dataloader.dataset.pipeline.0.scale=(60, 60) must be a multiple of 8, a patch of '
        'model.backbone'
    ]

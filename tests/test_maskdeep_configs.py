"""Values of the recipes, the ladder and the ablations of MaskDeep."""

import re
from contextlib import nullcontext

import pytest
import torch
from conftest import ROOT, documented_ablations, errors_but_for_data, with_options
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper

from mmmask.apis.train import scale_learning_rate

FOLDER = ROOT / 'configs/maskdeep'
README = FOLDER / 'README.md'
TINY = 'maskdeep_resnet-18_1xb256-amp-coslr-200e_tiny-imagenet-64px'
IN1K = '{}_resnet-50_16xb256-amp-coslr-200e_in1k'


def read(name):
    return Config.fromfile(FOLDER / f'{name}.py')


@pytest.mark.parametrize(
    ('name', 'gpus', 'batch', 'rate', 'epochs'),
    [
        (IN1K.format('maskdeep'), 16, 4096, 4.8, 200),
        ('maskdeep_resnet-50_16xb256-amp-coslr-100e_in1k', 16, 4096, 7.2, 100),
        (IN1K.format('maskdeep'), 8, 512, 0.6, 200),
        (TINY, 1, 256, 0.3, 200),
    ],
)
def test_lars_of_byol(name, gpus, batch, rate, epochs):
    cfg = read(name)
    if batch == 512:
        cfg = with_options(cfg, 'train_dataloader.batch_size=64')
    assert cfg.train_dataloader.batch_size * gpus == batch
    scale_learning_rate(cfg, world_size=gpus)
    optimizer = cfg.optim_wrapper.optimizer
    assert optimizer.lr == pytest.approx(rate)
    rest = {key: value for key, value in optimizer.items() if key != 'lr'}
    assert rest == dict(type='mmmask.LARS', momentum=0.9, weight_decay=1e-6, eta=1e-3)
    assert (cfg.param_scheduler.warmup_epochs, cfg.param_scheduler.eta_min) == (10, 0)
    assert cfg.train_cfg.max_epochs == epochs
    assert cfg.model.momentum == 0.99


def test_parameters_that_lars_excludes(on_meta):
    """Vectors, queries and level embeddings have no decay and the plain learning rate."""
    cfg = read(IN1K.format('maskdeep'))
    model = on_meta(cfg.model)
    groups = build_optim_wrapper(model, cfg.optim_wrapper).optimizer.param_groups
    settings = {id(p): group for group in groups for p in group['params']}
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    excluded = {n for n, p in trained.items() if settings[id(p)].get('lars_exclude')}
    vectors = {name for name, p in trained.items() if p.ndim == 1}
    assert excluded == vectors | {'neck.level_embed', 'neck.transformers.masked.query'}
    for name, parameter in trained.items():
        decay = 0 if name in excluded else 1e-6
        assert settings[id(parameter)]['weight_decay'] == decay, name


STEPS = {
    'maskdeep-m0': dict(levels=1, groups=None, views=2),
    'maskdeep-m1': dict(levels=1, groups=1, views=2),
    'maskdeep-m2': dict(levels=3, groups=1, views=2),
    'maskdeep-m3': dict(levels=3, groups=4, views=2),
    'maskdeep': dict(levels=3, groups=4, views=4),
}


def on_the_ladder(cfg) -> dict:
    model, (first, *_) = cfg.model, cfg.train_dataloader.dataset.pipeline
    views = model.data_preprocessor.get('views')
    return dict(
        levels=len(model.backbone.out_indices),
        groups=None if model.masking is None else model.masking.num_groups,
        views=len(views) if views else sum(first.num_views),
    )


def step(family, name):
    """Of the small ladder, or of ImageNet-1K, where the README writes steps as options."""
    if family == 'demo':
        number = name.partition('-')[2] or 'm4'
        folder = ROOT / 'configs/demo/ladder'
        return Config.fromfile(folder / f'maskdeep-{number}_resnet-18_tiny-imagenet.py')
    if name in ('maskdeep', 'maskdeep-m0'):
        return read(IN1K.format(name))
    number = name.partition('-')[2].upper()
    (options,) = re.findall(rf'^\| {number} \| `(.*)` \|$', README.read_text(), re.M)
    cfg = with_options(read(IN1K.format('maskdeep')), options)
    assert errors_but_for_data(cfg) == []
    return cfg


@pytest.mark.parametrize('name', STEPS)
@pytest.mark.parametrize('family', ['demo', 'in1k'])
def test_steps_of_the_ladder_differ_in_nothing_else(name, family):
    cfg, whole = step(family, name), step(family, 'maskdeep')
    assert on_the_ladder(cfg) == STEPS[name]
    assert (cfg.model.neck.get('fusion', 'joint') is None) == (name == 'maskdeep-m0')
    for key in ('optim_wrapper', 'param_scheduler', 'train_cfg', 'randomness'):
        assert cfg[key] == whole[key]
    assert cfg.model.head == whole.model.head
    kept = {k: v for k, v in cfg.model.backbone.items() if k != 'out_indices'}
    assert kept == {k: v for k, v in whole.model.backbone.items() if k != 'out_indices'}


def test_views_are_those_of_byol():
    first, second, *_ = (
        {step.type.split('.')[1]: step for step in view}
        for view in read(IN1K.format('maskdeep')).train_dataloader.dataset.pipeline[0].transforms
    )
    for view, blur in ((first, 1.0), (second, 0.1)):
        assert view['RandomResizedCrop'].interpolation == 'bicubic'
        assert view['RandomFlip'].prob == 0.5
        jitter = view['RandomApply']
        assert jitter.prob == 0.8
        assert jitter.transforms[0] == dict(
            type='mmpretrain.ColorJitter', brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1
        )
        assert view['RandomGrayscale'].prob == 0.2
        assert view['GaussianBlur'].prob == blur
        assert view['GaussianBlur'].magnitude_range == (0.1, 2.0)
    assert 'Solarize' not in first and second['Solarize'].prob == 0.2


def test_the_second_linear_probe_is_that_of_moco():
    folder = ROOT / 'configs/downstream/imagenet'
    cfg = Config.fromfile(folder / 'resnet-50_linear-sgd_8xb32-amp-steplr-100e_in1k.py')
    scale_learning_rate(cfg, world_size=8)
    assert cfg.optim_wrapper.optimizer == dict(type='SGD', lr=30.0, momentum=0.9, weight_decay=0.0)
    assert cfg.train_dataloader.batch_size * 8 == 256
    assert (cfg.param_scheduler.milestones, cfg.param_scheduler.gamma) == ([60, 80], 0.1)
    assert cfg.train_cfg.max_epochs == 100 and cfg.model.backbone.frozen_stages == 4


@pytest.mark.parametrize('options', documented_ablations(README, '## Ablations'))
def test_documented_ablations_fit_together(options, on_meta, monkeypatch):
    # The meta device has no autocast and does not need it.
    monkeypatch.setattr(torch, 'autocast', lambda *args, **kwargs: nullcontext())
    cfg = with_options(read(IN1K.format('maskdeep')), options)
    assert errors_but_for_data(cfg) == []
    views = sum(cfg.train_dataloader.dataset.pipeline[0].num_views)
    assert views == (2 if '1,1,0,0' in options else 3 if 'num_views' in options else 4)
    losses = on_meta(cfg.model)([torch.empty(2, 3, 224, 224, device='meta')] * views, mode='loss')
    assert all(loss.shape == () for loss in losses.values())
    assert len(losses) == (3 if 'per_level' in options else 2 if 'global' in options else 1)

"""The published ImageNet-1K fine-tuning of LocalMIM, value by value."""

from typing import NamedTuple

import numpy as np
import pytest
import torch
from conftest import ROOT
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope, init_default_scope
from mmengine.runner import Runner

from mmmask.apis.train import scale_learning_rate
from mmmask.checkpoints import load_backbone
from mmmask.datasets import ImageFolder
from mmmask.registry import DATASETS, MODELS

FOLDER = ROOT / 'configs/downstream/imagenet'
TINY = sorted(FOLDER.glob('*_localmim_*tiny-imagenet-64px.py'))


class Recipe(NamedTuple):
    config: str
    epochs: int
    warmup: int
    batch: int
    rate: float
    floor: float
    layer_decay: float
    drop_path: float
    parameters: int


RECIPES = [
    Recipe(f'{name}_in1k', *values)
    for name, *values in (
        ('vit-base-p16_localmim-1600e_8xb128-amp-coslr-100e',
         100, 20, 1024, 2e-3, 1e-5, 0.65, 0.1, 86_567_656),
        ('vit-base-p16_localmim-100e_8xb128-amp-coslr-100e',
         100, 20, 1024, 4e-3, 1e-6, 0.75, 0.1, 86_567_656),
        ('vit-large-p16_localmim-800e_8xb128-amp-coslr-50e',
         50, 5, 1024, 3e-3, 1e-6, 0.75, 0.2, 304_326_632),
        ('swin-base_localmim-pixel-400e_8xb128-amp-coslr-100e',
         100, 20, 1024, 4e-3, 2.5e-7, 0.9, 0.1, 87_768_224),
        ('swin-base_localmim-hog-400e_8xb256-amp-coslr-100e',
         100, 20, 2048, 4e-3, 2.5e-7, 0.9, 0.1, 87_768_224),
        ('swin-base_localmim-100e_8xb128-amp-coslr-100e',
         100, 20, 1024, 5e-3, 2.5e-7, 0.9, 0.1, 87_768_224),
        ('swin-large_localmim-hog-800e_8xb128-accum2-amp-coslr-100e',
         100, 20, 2048, 2e-3, 2.5e-7, 0.8, 0.3, 196_794_556),
    )
]  # fmt: skip
recipes = pytest.mark.parametrize('recipe', RECIPES, ids=lambda recipe: recipe.config)


@pytest.fixture(autouse=True)
def scope():
    """mmpretrain's, as in these configs, and afterwards what it was."""
    before = DefaultScope.get_current_instance()
    init_default_scope('mmpretrain')
    yield
    init_default_scope(before.scope_name if before else 'mmmask')


def read(name):
    return Config.fromfile(FOLDER / f'{name}.py')


def test_every_published_row_has_a_config():
    published = {path.stem for path in FOLDER.glob('*_localmim-*.py')}
    assert published == {recipe.config for recipe in RECIPES}


@recipes
def test_schedule_and_batch(recipe):
    cfg = read(recipe.config)
    assert cfg.train_cfg.max_epochs == recipe.epochs
    schedule = cfg.param_scheduler
    assert (schedule.warmup_epochs, schedule.eta_min) == (recipe.warmup, recipe.floor)
    assert schedule.convert_to_iter_based
    accumulation = cfg.optim_wrapper.get('accumulative_counts', 1)
    assert cfg.train_dataloader.batch_size * 8 * accumulation == recipe.batch
    scale_learning_rate(cfg, world_size=8)
    assert cfg.optim_wrapper.optimizer == dict(
        type='AdamW', lr=recipe.rate, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.05, fused=True
    )
    assert 'clip_grad' not in cfg.optim_wrapper and 'custom_hooks' in cfg


@recipes
def test_network_and_parameter_groups(recipe, on_meta):
    cfg = read(recipe.config)
    model = on_meta(cfg.model)
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == recipe.parameters
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper).optimizer
    group = {id(p): g for g in optimizer.param_groups for p in g['params']}
    settings = {name: group[id(p)] for name, p in model.named_parameters()}

    is_swin = recipe.config.startswith('swin')
    num_blocks = 24 if is_swin or 'large' in recipe.config else 12
    depth = {'backbone.patch_embed.projection.weight': 0, 'head.fc.weight': num_blocks + 1}
    if is_swin:
        depth |= {
            'backbone.stages.0.blocks.0.norm1.weight': 1,
            'backbone.stages.0.downsample.reduction.weight': 2,
            'backbone.stages.1.downsample.norm.bias': 4,
            'backbone.stages.2.blocks.0.attn.w_msa.qkv.weight': 5,
            'backbone.stages.2.downsample.reduction.weight': 22,
            'backbone.stages.3.blocks.1.ffn.layers.1.weight': 24,
            'neck.norm.weight': 25,
        }
    else:
        depth |= {
            'backbone.pos_embed': 0,
            'backbone.cls_token': 0,
            'backbone.layers.0.ln1.weight': 1,
            f'backbone.layers.{num_blocks - 1}.attn.proj.weight': num_blocks,
            'backbone.ln2.weight': num_blocks + 1,
        }
    for name, layer in depth.items():
        scale = recipe.layer_decay ** (num_blocks + 1 - layer)
        assert settings[name]['lr'] == pytest.approx(recipe.rate * scale), name

    undecayed = {name for name, options in settings.items() if options['weight_decay'] == 0}
    assert {options['weight_decay'] for options in settings.values()} == {0, 0.05}
    vectors = {name for name, p in model.named_parameters() if p.ndim == 1}
    exempt = set() if is_swin else {'backbone.pos_embed', 'backbone.cls_token'}
    assert undecayed == vectors | exempt
    if is_swin:
        assert all(options['weight_decay'] for n, options in settings.items() if 'bias_table' in n)


def test_layer_decay_of_the_patch_embeddings(on_meta):
    """0.65^13 and 0.9^25 of the base rate."""
    for recipe, expected in ((RECIPES[0], 0.003697), (RECIPES[3], 0.07179)):
        cfg = read(recipe.config)
        optimizer = build_optim_wrapper(on_meta(cfg.model), cfg.optim_wrapper).optimizer
        smallest = min(group['lr'] for group in optimizer.param_groups)
        assert smallest / recipe.rate == pytest.approx(expected, rel=2e-4)


@recipes
def test_drop_path_norms_and_head(recipe, on_meta):
    cfg = read(recipe.config)
    model = on_meta(cfg.model)
    rates = [m.drop_prob for m in model.modules() if type(m).__name__ == 'DropPath']
    assert max(rates) == pytest.approx(recipe.drop_path) and min(rates) == 0
    assert {m.eps for m in model.modules() if isinstance(m, torch.nn.LayerNorm)} == {1e-6}
    head = cfg.model.head
    assert head.loss == dict(
        type='mmpretrain.LabelSmoothLoss', label_smooth_val=0.1, mode='original'
    )
    assert head.init_cfg == dict(type='TruncNormal', layer='Linear', std=2e-5)
    assert cfg.model.train_cfg.augments == [
        dict(type='mmpretrain.Mixup', alpha=0.8),
        dict(type='mmpretrain.CutMix', alpha=1.0),
    ]


@recipes
def test_augmentation(recipe):
    cfg = read(recipe.config)
    crop, flip, augment, erase, _ = cfg.train_dataloader.dataset.pipeline
    assert (crop.type, crop.scale, crop.interpolation) == (
        'mmpretrain.RandomResizedCrop', 224, 'bicubic'
    )  # fmt: skip
    assert (flip.type, flip.prob) == ('mmpretrain.RandomFlip', 0.5)
    assert (augment.policies, augment.num_policies) == ('timm_increasing', 2)
    assert (augment.magnitude_level, augment.magnitude_std, augment.total_level) == (9, 0.5, 10)
    assert (erase.erase_prob, erase.mode) == (0.25, 'rand')
    resize, centre, _ = cfg.val_dataloader.dataset.pipeline
    assert (resize.scale, resize.edge, resize.interpolation) == (256, 'short', 'bicubic')
    assert centre.crop_size == 224


def test_vit_head_is_the_mean_of_the_patches_then_a_norm():
    model = build(read(RECIPES[0].config), 'vit').eval()
    images = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        features = model.extract_feat(images, stage='backbone')[-1]
        model.backbone.out_type = 'raw'
        tokens = model.backbone(images)[-1]
    expected = model.backbone.ln2(tokens[:, 1:].mean(1))
    torch.testing.assert_close(features, expected, atol=1e-5, rtol=1e-5)
    assert model.backbone.pos_embed.requires_grad
    assert 1e-5 < model.head.fc.weight.std().item() < 3e-5
    assert model.head.fc.bias.abs().max() == 0


def test_swin_pools_and_then_norms():
    model = build(read(RECIPES[3].config), 'swin').eval()
    images = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        maps = model.backbone(images)[-1]
        torch.testing.assert_close(
            model.extract_feat(images)[-1],
            torch.nn.functional.layer_norm(maps.mean((2, 3)), (64,), eps=1e-6),
            atol=1e-5,
            rtol=1e-5,
        )


def build(cfg, kind):
    """The model of a config, made small."""
    if kind == 'vit':
        cfg.model.backbone.arch = dict(
            embed_dims=64, num_layers=2, num_heads=2, feedforward_channels=64
        )
    else:
        cfg.model.backbone.arch = dict(embed_dims=8, depths=[2] * 4, num_heads=[1, 1, 2, 2])
        cfg.model.neck.in_channels = 64
    cfg.model.head.in_channels = 64
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    return model


@pytest.mark.parametrize(
    ('pretraining', 'config'),
    [
        ('localmim_vit-tiny-p8_1xb256-amp-coslr-200e_tiny-imagenet-64px', TINY[1]),
        ('localmim_swin-tiny-hog_1xb256-amp-coslr-200e_tiny-imagenet-64px', TINY[0]),
    ],
)
def test_the_pre_trained_backbone_gives_the_classifier_its_features(tmp_path, pretraining, config):
    cfg = Config.fromfile(ROOT / f'configs/localmim/{pretraining}.py')
    torch.manual_seed(0)
    pretrained = MODELS.build(cfg.model)
    pretrained.init_weights()
    torch.save({'state_dict': pretrained.state_dict()}, tmp_path / 'a.pth')
    model = MODELS.build(Config.fromfile(config).model)
    load_backbone(model.backbone, tmp_path / 'a.pth')
    loaded = dict(pretrained.backbone.named_parameters())
    for name, parameter in model.backbone.named_parameters():
        if name.startswith('ln2'):  # new for fine-tuning
            assert name not in loaded
        else:
            assert torch.equal(parameter, loaded[name]), name


@pytest.mark.parametrize('config', TINY, ids=lambda path: path.stem)
def test_the_recipe_trains_on_tiny_imagenet(config, tmp_path):
    source = ROOT.parent / 'shared/data/tiny-imagenet-50.zip'
    if not source.is_file():
        pytest.skip('needs Tiny ImageNet, which may not be redistributed')
    cfg = Config.fromfile(config)
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.dataset.source = str(source)
        loader.dataset.indices = 64 if loader is cfg.train_dataloader else 32
        loader.num_workers = 0
        loader.batch_size = 16
    cfg.train_cfg.max_epochs, cfg.param_scheduler.warmup_epochs = 1, 0
    cfg.test_dataloader = cfg.test_cfg = cfg.test_evaluator = None
    cfg.work_dir, cfg.default_hooks.checkpoint.save_best = str(tmp_path), None
    cfg.env_cfg.dist_cfg.backend, cfg.log_level = 'gloo', 'WARNING'
    cfg.experiment_name = config.stem
    before = MODELS.build(cfg.model)
    runner = Runner.from_cfg(cfg)
    runner.train()
    history = runner.message_hub.get_scalar('train/loss').data[0]
    # log(200) = 5.30 at the start, for smoothed and mixed targets too
    assert history[0] == pytest.approx(np.log(200), abs=0.05)
    assert np.isfinite(history).all() and len(history) == 4
    assert runner.message_hub.get_scalar('val/accuracy/top1').current() >= 0
    changed = dict(runner.model.named_parameters())
    assert all(changed[name].requires_grad for name, _ in before.named_parameters())


def test_pipelines_run_on_images_of_any_size(tmp_path):
    from skimage import data, io

    for split in ('train', 'val'):
        (tmp_path / split / 'cat').mkdir(parents=True)
        io.imsave(tmp_path / split / 'cat' / 'a.png', data.chelsea())
    cfg = read(RECIPES[0].config)
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.dataset.source = str(tmp_path)
        dataset = DATASETS.build(loader.dataset)
        assert isinstance(dataset, ImageFolder)
        sample = dataset[0]
        assert sample['inputs'].shape == (3, 224, 224)
        assert sample['data_samples'].gt_label.item() == 0

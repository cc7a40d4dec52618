"""CMAE of Huang et al.: parameter counts at full size, and losses of a tiny model."""

import math
import re

import numpy as np
import pytest
import torch
from conftest import ROOT, trainable, with_options
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.optim import build_optim_wrapper
from mmpretrain.models import VisionTransformer
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from mmmask.apis.train import scale_learning_rate
from mmmask.registry import MODELS

CONFIG = ROOT / 'configs/cmae/cmae-huang_vit-base-p16_8xb512-amp-coslr-300e_in1k.py'
DEMO = ROOT / 'configs/demo/cmae-huang_vit-tiny_digits.py'
README = CONFIG.parent / 'README.md'
ARCH = dict(embed_dims=32, num_layers=2, num_heads=2, feedforward_channels=64)


def tiny(size=64, patch=8, **model):
    cfg = Config.fromfile(DEMO).model
    cfg.backbone.update(img_size=size, patch_size=patch)
    cfg.backbone.arch = ARCH
    cfg.neck.update(embed_dims=16, depth=1, num_heads=2)
    cfg.feature_decoder.update(embed_dims=16, num_heads=2)
    cfg.projector.update(hid_channels=48, out_channels=24)
    cfg.contrast_head.predictor.update(hid_channels=48)
    cfg.update(model)
    torch.manual_seed(0)
    built = MODELS.build(cfg)
    built.init_weights()
    return built.train()


def test_parameter_counts(on_meta):
    model = on_meta(Config.fromfile(CONFIG).model)
    assert trainable(model) == 121_118_208
    assert {name: trainable(part) for name, part in model.named_children() if trainable(part)} == {
        'backbone': 85_647_360,
        'neck': 26_008_320,
        'feature_decoder': 7_094_016,
        'projector': 1_577_472,
        'contrast_head': 791_040,
    }


def test_recipe():
    cfg = Config.fromfile(CONFIG)
    scale_learning_rate(cfg, world_size=8)
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.lr, optimizer.weight_decay, optimizer.betas) == (2.4e-3, 0.05, (0.9, 0.95))
    assert (cfg.param_scheduler.warmup_epochs, cfg.train_cfg.max_epochs) == (40, 300)
    model = cfg.model
    assert (model.momentum, model.contrast_head.temperature, model.masking.ratio) == (
        0.996, 0.07, 0.65
    )  # fmt: skip
    assert model.contrast_head.gather and model.target_generator.normalize
    assert [(model[name].embed_dims, model[name].depth, model[name].num_heads) for name in
            ('neck', 'feature_decoder')] == [(512, 8, 16), (512, 2, 16)]  # fmt: skip


@pytest.mark.parametrize('path', [CONFIG, DEMO], ids=['full-size', 'demo'])
def test_what_does_not_decay_and_batch_norms(path, on_meta):
    """The values of the official code; MAE's decays its tokens, and PyTorch's eps is 1e-5."""
    cfg = Config.fromfile(path)
    model = on_meta(cfg.model)
    groups = build_optim_wrapper(model, cfg.optim_wrapper).optimizer.param_groups
    decays = {id(p): group['weight_decay'] for group in groups for p in group['params']}
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    tokens = {name for name, p in trained.items() if p.ndim > 1 and not decays[id(p)]}
    assert tokens == {'backbone.cls_token', 'neck.mask_token', 'feature_decoder.mask_token'}
    assert {decays[id(p)] for name, p in trained.items() if name.endswith('weight')} == {0.05, 0.0}
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    # Projector, its momentum copy and predictor.
    assert [norm.eps for norm in norms] == [1e-6] * 3


@pytest.mark.parametrize('epochs', [300, 800, 1600])
def test_views_are_windows_of_one_crop(epochs):
    if epochs == 800:
        (options,) = re.findall('`--cfg-options (train_cfg.max_epochs=800)`', README.read_text())
        cfg = with_options(Config.fromfile(CONFIG), options)
    else:
        cfg = Config.fromfile(CONFIG.parent / CONFIG.name.replace('300e', f'{epochs}e'))
    assert cfg.train_cfg.max_epochs == epochs
    crop, flip, views, _ = cfg.train_dataloader.dataset.pipeline
    assert (crop.scale, crop.crop_ratio_range, crop.interpolation) == (256, (0.2, 1.0), 'bicubic')
    assert flip.prob == 0.5
    (online,), (window, jitter, grey, blur) = views.transforms
    assert online == dict(type='mmmask.ShiftedCrop', size=224)
    assert window == dict(type='mmmask.ShiftedCrop', size=224, max_shift=31)
    assert (jitter.prob, grey.prob, blur.prob) == (0.8, 0.2, 0.5)
    strengths = dict(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)
    assert jitter.transforms == [dict(type='mmpretrain.ColorJitter', **strengths)]
    assert blur.magnitude_range == (0.1, 2.0)


@pytest.mark.parametrize(('epochs', 'rate'), [(300, 2e-3), (1600, 1e-3)])
def test_fine_tuning_recipe(epochs, rate):
    name = f'vit-base-p16_cmae-huang-{epochs}e_8xb128-amp-coslr-100e_in1k.py'
    cfg = Config.fromfile(ROOT / 'configs/downstream/imagenet' / name)
    scale_learning_rate(cfg, world_size=8)
    optimizer, schedule = cfg.optim_wrapper.optimizer, cfg.param_scheduler
    assert (optimizer.lr, optimizer.weight_decay, optimizer.betas) == (rate, 0.05, (0.9, 0.999))
    assert cfg.optim_wrapper.paramwise_cfg.layer_decay_rate == 0.65
    assert (schedule.warmup_epochs, schedule.eta_min, cfg.train_cfg.max_epochs) == (5, 1e-6, 100)
    assert cfg.train_dataloader.batch_size * 8 == 1024
    assert cfg.model.backbone.drop_path_rate == 0.1


COLOUR = np.array([60, 120, 200], dtype=np.uint8)


@pytest.mark.parametrize(
    ('config', 'size'),
    [
        (CONFIG.name, 224),
        ('cmae-mao_vit-base-p16_1xb64-amp-coslr-300e_tiny-imagenet.py', 224),
        ('cmae-mao_vit-base-p8_1xb64-amp-coslr-300e_tiny-imagenet-64px.py', 64),
        ('mae_vit-base-p8_1xb64-amp-coslr-300e_tiny-imagenet-64px.py', 64),
    ],
)
def test_pipelines_recolour_the_second_view_only(config, size):
    cfg = Config.fromfile(CONFIG.parent / config)
    pipeline = Compose(cfg.train_dataloader.dataset.pipeline)
    image = np.broadcast_to(COLOUR, (64, 80, 3)).copy()
    changed = 0
    for index in range(12):
        sample = dict(img=image, sample_idx=index, img_shape=(64, 80), ori_shape=(64, 80))
        first, second = pipeline(sample)['inputs']
        assert first.shape == second.shape == (3, size, size)
        assert torch.equal(first, torch.tensor(COLOUR)[:, None, None].expand_as(first))
        changed += not torch.equal(first, second)
    assert 6 <= changed <= 12  # more than 0.8 of them


def test_masks_and_shapes_of_224_px():
    model = tiny(224, 16, masking=dict(ratio=0.65))
    images = torch.randn(2, 3, 224, 224)
    mask = model.draw_mask(images)
    assert mask.ids_keep.shape == (2, 68) and mask.hidden.sum(1).tolist() == [128, 128]
    blocks = mask.hidden.view(2, 7, 2, 7, 2).float().mean((2, 4))
    assert set(blocks.unique().tolist()) == {0.0, 1.0}
    assert model.backbone(images, mask)[-1].shape == (2, 69, 32)


def test_target_is_the_whole_image_without_the_last_norm(views):
    """Compared with a network of mmpretrain without the norm."""
    model = tiny()
    copies = model.momentum_copy.module
    plain = VisionTransformer(
        arch=ARCH, img_size=64, patch_size=8, out_type='raw', final_norm=False
    )
    result = plain.load_state_dict(copies['backbone'].state_dict(), strict=False)
    assert result.missing_keys == [] and result.unexpected_keys == ['ln1.weight', 'ln1.bias']
    features = plain(views[1])[0][:, 1:].mean(dim=1)
    expected = copies['projector']((features,))[0]
    torch.testing.assert_close(model.key(views[1]), expected)
    assert not model.key(views[1]).requires_grad
    assert model.backbone.final_norm  # the online encoder keeps it


def test_loss_by_hand(views):
    model = tiny()
    torch.manual_seed(3)
    losses = model(views, mode='loss')
    torch.manual_seed(3)
    mask = model.draw_mask(views[0])
    taps = model.backbone(views[0], mask)
    error = model.neck(taps, mask) - model.target_generator(views[0])
    rec = error.square().mean(-1)[mask.hidden].mean()
    assert losses['loss_rec'].item() == pytest.approx(rec.item(), rel=1e-5)

    feature = model.feature_decoder(taps, mask).mean(dim=1)
    query = model.contrast_head.predictor(model.projector((feature,)))[0]
    key = model.key(views[1])
    cosine = F.cosine_similarity(query[:, None], key[None], dim=2)
    con = 2 * 0.07 * F.cross_entropy(cosine / 0.07, torch.arange(8))
    assert losses['loss_con'].item() == pytest.approx(con.item(), rel=1e-4)
    nearest = cosine.argmax(1) == torch.arange(8)
    assert losses['contrast_accuracy'].item() == pytest.approx(nearest.float().mean().item())


def test_each_term_trains_the_encoder_and_its_own_components(views):
    model = tiny()
    losses = model(views, mode='loss')
    reached = {}
    for name in ('loss_rec', 'loss_con'):
        model.zero_grad()
        losses[name].backward(retain_graph=True)
        reached[name] = {
            part.partition('.')[0]
            for part, p in model.named_parameters()
            if p.grad is not None and p.grad.abs().sum() > 0
        }
    assert reached['loss_rec'] == {'backbone', 'neck'}
    assert reached['loss_con'] == {'backbone', 'feature_decoder', 'projector', 'contrast_head'}


def test_the_two_decoders_have_separate_weights(views):
    model = tiny()
    before = model.neck.mask_token.clone()
    assert not torch.equal(model.feature_decoder.mask_token, before)
    names = dict(model.momentum_copy.module.named_parameters())
    assert {name.partition('.')[0] for name in names} == {'backbone', 'projector'}
    assert all(torch.equal(p, model.get_parameter(name)) for name, p in names.items())


def test_contrast_weight_and_chance():
    images = torch.randn(2, 32, 3, 64, 64)
    losses = {}
    for weight in (1.0, 0.5):
        torch.manual_seed(1)
        losses[weight] = tiny(contrast_weight=weight)(images.unbind(), mode='loss')['loss_con']
    assert losses[0.5].item() == pytest.approx(0.5 * losses[1.0].item(), rel=1e-6)
    # Cosines of an untrained network differ, so the loss is above that of equal logits.
    assert 0.14 * math.log(32) - 0.05 < losses[1.0].item() < 0.14 * math.log(32) + 0.6


def test_one_view_is_not_enough(views):
    with pytest.raises(ValueError, match='CMAEHuang compares 2 views of each image but got 1'):
        tiny()(views[0], mode='loss')

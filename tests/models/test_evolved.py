"""Evolved masks in whole models: equality with MAE, and combination with LocalMIM."""

import copy
import re

import pytest
import torch
from conftest import (
    ROOT,
    build_model,
    documented_ablations,
    errors_but_for_data,
    with_options,
)
from mmengine.config import Config
from torch.nn import functional as F

from mmmask.apis.validate import validate_config
from mmmask.masking import EvolvedHierarchyMask, EvolvedPartMask, Mask
from mmmask.models import EvolvedMIM
from mmmask.registry import MODELS

EHM, EPM, BASELINE = (f'demo/{name}_vit-tiny_digits.py' for name in ('ehm', 'epm', 'mae'))


@pytest.fixture
def images():
    noise = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return F.interpolate(noise, size=64, mode='bicubic')


def gradients(model, images):
    model.zero_grad()
    torch.manual_seed(1)
    losses = model(images, mode='loss')
    sum(losses.values()).backward()
    found = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    return {name: loss.item() for name, loss in losses.items()}, found


def assert_equal_gradients(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, gradient in theirs.items():
        assert torch.equal(ours[name], gradient), name


def test_at_the_start_it_is_mae_bit_for_bit_and_the_parser_is_not_called(images):
    model, baseline = build_model(EHM), build_model(BASELINE)
    model.parser.forward = None  # calling it would fail
    assert gradients(model, images)[0] == gradients(baseline, images)[0]
    assert_equal_gradients(gradients(model, images)[1], gradients(baseline, images)[1])


@pytest.mark.parametrize('config', [EHM, EPM])
@pytest.mark.parametrize('momentum', [None, 0.99])
def test_with_the_mask_fixed_gradients_are_those_of_mae(config, momentum, images):
    """The parser and the tree do not affect the gradient, and the copy has none."""
    model, baseline = build_model(config), build_model(BASELINE)
    model.parser = MODELS.build(
        dict(type='EncoderParser', momentum=momentum, backbone=model.backbone)
    )
    model.masking.set_progress(0.6)
    masks = []
    original = model.masking.forward

    def record(*args):
        masks.append(original(*args))
        return masks[-1]

    model.masking.forward = record
    loss, found = gradients(model, images)
    baseline.masking.forward = lambda *args: masks[-1]
    expected_loss, expected = gradients(baseline, images)
    assert loss == expected_loss
    assert_equal_gradients(found, expected)
    assert not any(p.requires_grad for p in model.parser.parameters())


@pytest.mark.parametrize('config', [EHM, EPM])
def test_masks_follow_what_the_model_sees(config, images):
    """Other weights give other masks; equal weights and seeds give equal masks."""
    model = build_model(config).eval()
    model.masking.set_progress(1.0)
    masks = []
    for scale in (1, 1, 4):
        with torch.no_grad():
            model.parser.encoder.layers[0].attn.qkv.weight.mul_(scale)
        torch.manual_seed(2)
        masks.append(model.draw_mask(images).hidden)
    assert torch.equal(masks[0], masks[1]) and not torch.equal(masks[0], masks[2])
    assert (masks[2].sum(1) == 48).all()


def test_attention_is_summed_for_parts(images):
    """The partition depends on the scale: six layers of four heads sum to 24 per query."""
    model = build_model(EPM).eval()
    evidence = model.parser(images)
    assert evidence.sum(2).max() < 24
    assert evidence.sum(2).mean() > 24 * 0.9  # the rest is attention to the class token


def config_of(name):
    return Config.fromfile(ROOT / 'configs' / name).model


def localmim_with_evolved_masks(**masking):
    """The demo of LocalMIM with the mask generator and parser of the demo of evolved masking."""
    model, evolved = config_of('demo/localmim_vit-tiny_digits.py'), config_of(EHM)
    model.update(masking=evolved.masking, parser=evolved.parser)
    model.masking.update(masking)
    torch.manual_seed(0)
    built = MODELS.build(model)
    built.init_weights()
    return built


@pytest.mark.parametrize('kind', ['profile', 'feat_cos'])
def test_localmim_with_evolved_masks(kind, images):
    """At the start it equals LocalMIM; later only masks differ, and every decoder learns."""
    model = localmim_with_evolved_masks(affinity=kind)
    baseline = build_model('demo/localmim_vit-tiny_digits.py')
    assert model.parser.evidence_kind == ('features' if kind == 'feat_cos' else 'attention')
    loss, found = gradients(model, images)
    expected_loss, expected = gradients(baseline, images)
    assert loss == expected_loss
    assert_equal_gradients(found, expected)

    model.masking.set_progress(0.8)
    later_loss, later = gradients(model, images)
    assert later_loss.keys() == {'loss_scale0', 'loss_scale1', 'loss_scale2', 'loss_scale3'}
    assert later_loss != loss
    assert later.keys() == found.keys()
    assert all(gradient.abs().sum() > 0 for gradient in later.values())


def test_swin_with_evolved_masks(images):
    """Window attention is not global, so features of the last stage group the units."""
    path = 'demo/localmim_swin-tiny_digits.py'
    model, evolved = config_of(path), config_of(EHM)
    model.update(masking=evolved.masking, parser=evolved.parser)
    model.masking.update(affinity='feat_cos', shared=True)
    torch.manual_seed(0)
    model = MODELS.build(model)
    model.init_weights()
    model.masking.set_progress(0.8)
    features = model.parser(images)
    with torch.no_grad():
        last = model.backbone(images)[-1]
    assert torch.equal(features, last.flatten(2).mT)
    mask = model.draw_mask(images)
    assert (mask.hidden.sum(1) == 48).all() and (mask.hidden == mask.hidden[:1]).all()
    losses, found = gradients(model, images)
    assert len(losses) == 3 and all(gradient.abs().sum() > 0 for gradient in found.values())
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert set(found) == trained


def test_any_generator_takes_the_place_of_the_masking(images):
    """Components are attributes: parts instead of a hierarchy, with the same parser."""
    model = build_model(EHM).eval()
    model.masking = EvolvedPartMask(0.5)
    model.masking.set_progress(0.5)
    assert (model.draw_mask(images).hidden.sum(1) == 32).all()
    model.masking = EvolvedHierarchyMask(0.5, final_nodes=4)
    model.masking.set_progress(0.5)
    assert (model.draw_mask(images).hidden.sum(1) == 32).all()


def test_the_state_dict_holds_the_copy_and_downstream_keys_are_mae_s():
    model, baseline = build_model(EHM), build_model(BASELINE)
    names = model.state_dict()
    assert {n for n in names if not n.startswith('parser.')} == set(baseline.state_dict())
    copied = {n for n in names if n.startswith('parser.copy.module.encoder.')}
    prefix = 'parser.copy.module.encoder.'
    assert {n[len(prefix) :] for n in copied} == set(model.backbone.state_dict())
    for name in copied:  # initialised from the backbone
        assert torch.equal(names[name], names['backbone.' + name[len(prefix) :]])


def test_a_deep_copy_is_independent(images):
    model = build_model(EHM)
    clone = copy.deepcopy(model)
    with torch.no_grad():
        clone.backbone.cls_token.add_(1)
    clone.parser.copy.update()
    assert torch.equal(clone.parser.encoder.cls_token, clone.backbone.cls_token)
    assert torch.equal(model.parser.encoder.cls_token, model.backbone.cls_token)


def test_nothing_is_masked_in_tensor_mode(images):
    model, baseline = build_model(EHM).eval(), build_model(BASELINE).eval()
    model.masking.set_progress(1.0)
    assert torch.equal(model(images)[0], baseline(images)[0])
    prediction = model(images, mode='predict')
    assert isinstance(prediction.mask, Mask) and (prediction.mask.hidden.sum(1) == 48).all()


def baseline_of(path):
    """The config of the same recipe with random masks."""
    name = path.stem.replace('ehm-localmim', 'localmim').replace('ehm-6layers', 'mae')
    name = name.replace('ehm_', 'mae_').replace('epm_', 'mae_')
    return path.parent.parent / name.split('_')[0] / f'{name}.py'


EVOLVED = sorted((ROOT / 'configs' / 'evolved').glob('*.py'))


@pytest.mark.parametrize('path', EVOLVED, ids=lambda path: path.stem)
def test_configs_differ_from_their_baseline_only_in_what_is_hidden(path):
    """Model components, data, optimizer and schedule are those of the baseline."""
    cfg, theirs = Config.fromfile(path), Config.fromfile(baseline_of(path))
    expected = theirs.model.type if 'localmim' in path.stem else 'mmmask.EvolvedMIM'
    assert cfg.model.type == expected
    for key in ('train_dataloader', 'optim_wrapper', 'param_scheduler', 'train_cfg'):
        assert cfg[key] == theirs[key]
    for key in ('backbone', 'neck', 'target_generator', 'head', 'data_preprocessor'):
        assert cfg.model[key] == theirs.model[key]


@pytest.mark.parametrize('path', EVOLVED, ids=lambda path: path.stem)
def test_configs_have_the_released_constants(path):
    """Ten nodes and γ = 0.5; a copy with 1 − m = 4e-5 per step of 1024 images in 300 epochs."""
    cfg = Config.fromfile(path)
    masking = MODELS.build(cfg.model.masking)
    assert masking.ratio == 0.75 and masking.exponent == 0.5
    if path.stem.startswith('epm'):
        assert (masking.start_parts, masking.final_parts, masking.extra_parts) == (40, 10, 2)
        assert (masking.concentration, masking.num_rounds) == (40, 15)
        assert cfg.model.parser.online_patches
        if path.stem.endswith('in1k'):
            assert masking.num_epochs == cfg.train_cfg.max_epochs
    else:
        small = 'swin' in path.stem or 'tiny' in path.stem  # at most 64 units
        assert masking.final_nodes == (6 if small else 10) and masking.start_nodes is None
        is_swin = 'swin' in path.stem
        assert (masking.affinity, masking.linkage) == ('feat_cos' if is_swin else 'profile', 'ward')
        assert (masking.spatial_weight, masking.extra_nodes, masking.shared) == (0, 0, is_swin)
    if path.stem.endswith('in1k'):
        batch = 8 * cfg.train_dataloader.batch_size
        faster = 3 if 'localmim' in path.stem else 1  # 100 epochs
        rate = 4e-5 * batch / 1024 * faster
        assert cfg.model.parser.momentum == pytest.approx(1 - rate, abs=1e-9)


@pytest.mark.parametrize('method', ['ehm', 'epm', 'mae'])
@pytest.mark.parametrize(
    ('size', 'encoder', 'decoder'),
    [('ViT-L/16', (1024, 24), (512, 8)), ('ViT-S/16', (384, 12), (256, 8))],
)
def test_other_sizes_are_options(method, size, encoder, decoder, on_meta):
    cfg = with_options(in1k(method), documented_option(size))
    assert errors_but_for_data(cfg) == []
    model = on_meta(cfg.model)
    assert (model.backbone.embed_dims, len(model.backbone.layers)) == encoder
    assert (model.neck.embed.out_features, len(model.neck.layers)) == decoder


@pytest.mark.parametrize('method', ['ehm', 'epm', 'mae'])
def test_longer_trainings_are_options(method):
    length, parts = re.findall('`([^`]+)`', documented_option('800 epochs', whole_cell=True))
    cfg = with_options(in1k(method), f'{length} {parts}' if method == 'epm' else length)
    assert errors_but_for_data(cfg) == []
    assert cfg.train_cfg.max_epochs == 800 and cfg.default_hooks.checkpoint.interval == 10
    assert cfg.model.masking.get('num_epochs', 800) == 800  # a part number for each epoch


def in1k(method):
    folder = ROOT / 'configs' / ('mae' if method == 'mae' else 'evolved')
    return Config.fromfile(folder / f'{method}_vit-base-p16_8xb512-amp-coslr-300e_in1k.py')


def documented_option(row, whole_cell=False):
    text = (ROOT / 'configs/evolved/README.md').read_text()
    (cell,) = re.findall(rf'^\| {row} \| (.*) \|$', text, re.M)
    return cell if whole_cell else cell.strip('`')


def test_the_method_is_its_components():
    """The method defines no step of its own."""
    assert set(vars(EvolvedMIM)) & {'loss', 'forward', 'reconstruct', 'draw_mask'} == set()


@pytest.mark.parametrize(
    'options', documented_ablations(ROOT / 'configs/evolved/README.md', '## Ablations')
)
def test_documented_ablations_train(options, images):
    config = EHM
    if options in ('model.masking.exponent=0.2',):
        config = EPM
    if 'layers=6' in options or 'layers=-6' in options:
        options = options.replace('6', '3')  # of the six blocks of the demo
    cfg = with_options(Config.fromfile(ROOT / 'configs' / config), options)
    validate_config(cfg)
    model = MODELS.build(cfg.model)
    model.masking.set_progress(0.5)
    assert model(images, mode='loss')['loss'].isfinite()
    ratio = cfg.model.masking.ratio
    assert (model.draw_mask(images).hidden.sum(1) == 64 - int(64 * (1 - ratio) + 1e-6)).all()

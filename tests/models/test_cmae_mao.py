"""CMAE of Mao et al.: parameter counts at full size, and losses of a tiny model."""

import copy
import math

import pytest
import torch
from conftest import (
    ROOT,
    build_model,
    documented_ablations,
    errors_but_for_data,
    trainable,
    with_options,
)
from mmengine.config import Config
from torch import nn
from torch.nn import functional as F

from mmmask.apis.train import scale_learning_rate
from mmmask.datasets import ContrastiveCrop
from mmmask.engine.hooks.refresh_crops import is_due
from mmmask.layers import sincos_position_embedding
from mmmask.masking import Mask, RandomMask, keep_all
from mmmask.models import PositionHead, TokenDecoder
from mmmask.registry import MODELS

FOLDER = ROOT / 'configs/cmae'
DEFAULT = 'cmae-mao_vit-base-p16_1xb64-amp-coslr-300e_tiny-imagenet.py'
NATIVE = 'cmae-mao_vit-base-p8_1xb64-amp-coslr-300e_tiny-imagenet-64px.py'
LINEAGE = 'cmae-mao-lineage_vit-base-p16_1xb64-amp-coslr-300e_tiny-imagenet.py'
DEMO = 'cmae-mao_vit-tiny_digits.py'
SOURCES = ('encoder_cls', 'mean_patch', 'decoder_cls')
TARGETS = ('momentum_encoder', 'momentum_head', 'stopgrad', 'simclr')
ARCH = dict(embed_dims=32, num_layers=2, num_heads=2, feedforward_channels=64)


def tiny(source='encoder_cls', **model):
    """The model of the demo, even smaller."""
    cfg = Config.fromfile(ROOT / 'configs/demo' / DEMO).model
    cfg.backbone.arch = ARCH
    cfg.neck.update(embed_dims=16, num_heads=2)
    cfg.projector.update(hid_channels=48, out_channels=24)
    cfg.contrast_head.predictor.update(hid_channels=48)
    if source == 'decoder_cls':
        del cfg.projector['with_avg_pool']
        cfg.projector.update(type='mmmask.ClassTokenProjector', depth=1)
    cfg.update(source=source, **model)
    torch.manual_seed(0)
    built = MODELS.build(cfg)
    built.init_weights()
    return built.train()


def seeded_loss(model, views):
    torch.manual_seed(3)
    return model(views, mode='loss')


def total(losses):
    return sum(value for name, value in losses.items() if 'loss' in name)


@pytest.mark.parametrize('options', documented_ablations(FOLDER / 'README.md', '## Mao: ablations'))
def test_documented_ablations_train(options, views):
    plain = DEFAULT.replace('cmae-mao', 'cmae-mao-plain-crops')
    is_about_plain_crops = 'type=mmmask.ContrastiveCrop' in options
    config = FOLDER / plain if is_about_plain_crops else ROOT / 'configs/demo' / DEMO
    cfg = with_options(Config.fromfile(config), options)
    assert errors_but_for_data(cfg) == []
    if not is_about_plain_crops:
        losses = MODELS.build(cfg.model)(views, mode='loss')
        assert all(loss.isfinite() for loss in losses.values())


# The full size


@pytest.fixture(scope='module')
def full():
    """Models of some configs on the meta device."""

    def build(name):
        with torch.device('meta'):
            return MODELS.build(Config.fromfile(FOLDER / name).model)

    return {name: build(name) for name in (DEFAULT, NATIVE, LINEAGE)}


def test_parameter_counts(full):
    model = full[DEFAULT]
    assert trainable(model) == 109_507_524
    assert {name: trainable(part) for name, part in model.named_children() if trainable(part)} == {
        'backbone': 85_647_360,
        'neck': 396_160,
        'projector': 20_987_904,
        'contrast_head': 2_105_344,
        'position_head': 370_756,
    }
    copies = model.momentum_copy.named_parameters()
    assert sum(p.numel() for name, p in copies if 'pos_embed' not in name) == 106_635_264
    assert trainable(model.momentum_copy) == 0


def test_parameter_counts_of_the_other_presets(full):
    assert trainable(full[NATIVE].backbone) == 85_204_992
    assert trainable(full[NATIVE].neck) == 321_856
    lineage = full[LINEAGE]
    blocks = 2 * 7_087_872
    assert trainable(lineage.projector) == 23_085_056 + blocks
    assert trainable(lineage.contrast_head) == 6_299_648
    assert trainable(lineage.backbone) == 85_647_360 - 590_592  # patch embedding
    copies = lineage.momentum_copy
    assert set(copies.module) == {'projector'}


def test_frozen_patch_embedding_and_small_patches(full):
    cfg = Config.fromfile(FOLDER / DEFAULT).model
    cfg.freeze_patch_embed = True
    small = copy.deepcopy(cfg.backbone)
    small.update(img_size=64, patch_size=4)
    with torch.device('meta'):
        assert trainable(MODELS.build(cfg)) == 108_916_932
        assert trainable(MODELS.build(small)) == 85_094_400


@pytest.mark.parametrize(
    ('width', 'depth', 'count'),
    [
        (512, 8, 26_008_320), (512, 4, 13_398_784), (512, 2, 7_094_016), (512, 1, 3_941_632),
        (256, 1, 1_184_768), (128, 2, 594_432), (128, 1, 396_160),
    ],
)  # fmt: skip
def test_decoder_counts(width, depth, count):
    with torch.device('meta'):
        assert trainable(TokenDecoder(768, 768, width, depth, 16)) == count


def test_fine_tuned_classifier_and_recipe(on_meta):
    folder = ROOT / 'configs/downstream/tiny_imagenet'
    cfg = Config.fromfile(folder / 'vit-base-p16_cmae-mao_1xb64-amp-coslr-100e_tiny-imagenet.py')
    assert trainable(on_meta(cfg.model)) == 85_801_160 + 151_296  # positions are trained too
    scale_learning_rate(cfg, world_size=1)
    optimizer, schedule = cfg.optim_wrapper.optimizer, cfg.param_scheduler
    assert (optimizer.lr, optimizer.weight_decay, optimizer.betas) == (2.5e-4, 0.05, (0.9, 0.999))
    assert (schedule.warmup_epochs, schedule.eta_min, cfg.train_cfg.max_epochs) == (5, 1e-6, 100)
    assert cfg.optim_wrapper.paramwise_cfg.layer_decay_rate == 0.75
    assert cfg.model.train_cfg is None and cfg.model.backbone.drop_path_rate == 0.1
    assert cfg.train_dataloader.batch_size == 64


def test_schedule_of_the_published_run():
    cfg = Config.fromfile(FOLDER / DEFAULT)
    crops = cfg.custom_hooks[0]
    due = [epoch for epoch in range(1, 301) if is_due(epoch, 300, crops.warmup, crops.interval)]
    assert due == list(range(60, 281, 20)) and len(due) == 12
    scale_learning_rate(cfg, world_size=1)
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.lr, optimizer.weight_decay, optimizer.betas) == (2.5e-4, 0.05, (0.9, 0.95))
    assert (cfg.param_scheduler.warmup_epochs, cfg.train_cfg.max_epochs) == (40, 300)


def test_presets_and_baseline_differ_from_the_default_only_in_their_topic():
    def flat(value, path=''):
        if isinstance(value, dict | list | tuple):
            pairs = value.items() if isinstance(value, dict) else enumerate(value)
            return {k: v for key, child in pairs for k, v in flat(child, f'{path}.{key}').items()}
        return {path[1:]: value}

    default = flat(Config.fromfile(FOLDER / DEFAULT).to_dict())

    def changed(name):
        other = flat(Config.fromfile(FOLDER / f'{name}_{DEFAULT.partition("_")[2]}').to_dict())
        return {key for key in default.keys() | other.keys() if default.get(key) != other.get(key)}

    places = {key.partition('.')[0] for key in changed('mae')}
    assert places == {'model', 'train_dataloader', 'custom_hooks', 'crop', 'two_views'}
    assert {key for key in changed('mae') if key.startswith('model')} == {
        'model.neck.embed_dims', 'model.neck.depth', 'model.contrast_weight',
        'model.position_weight',
    }  # fmt: skip
    assert {key for key in changed('cmae-mao-robust') if key.startswith('model')} == {
        'model.target_generator.normalize', 'model.contrast_head.temperature',
        'model.position_head.loss', 'model.position_head.input_pe',
        'model.position_head.smoothing', 'model.position_weight',
    }  # fmt: skip


def boxes_of(cfg):
    (hook,) = (hook for hook in cfg.custom_hooks if hook.type == 'mmmask.RefreshCropsHook')
    return (hook.heat_map, hook.threshold, hook.warmup, hook.interval)


def test_presets_value_by_value(full):
    robust = Config.fromfile(FOLDER / DEFAULT.replace('mao_', 'mao-robust_'))
    model, head = robust.model, robust.model.position_head
    assert (head.input_pe, head.loss, head.smoothing) == ('drop_subset', 'ce', 1.0)
    assert (model.position_weight, model.contrast_head.temperature) == (0.05, 0.2)
    assert model.target_generator.normalize and boxes_of(robust) == ('cls_attn', 0.5, 60, 20)
    assert 'mmmask.ProgressHook' in [hook.type for hook in robust.custom_hooks]  # for σ

    lineage = Config.fromfile(FOLDER / LINEAGE)
    assert (lineage.model.source, lineage.model.target) == ('decoder_cls', 'momentum_head')
    assert lineage.model.freeze_patch_embed and lineage.model.projector.out_channels == 768
    assert boxes_of(lineage) == ('feat_sum', 0.1, 60, 20)

    for name in (DEFAULT, NATIVE):
        cfg = Config.fromfile(FOLDER / name)
        assert boxes_of(cfg) == ('cls_attn', 0.3, 60, 20)
        assert (cfg.model.neck.embed_dims, cfg.model.neck.depth, cfg.model.neck.num_heads) == (
            128, 1, 16
        )  # fmt: skip
        assert (cfg.model.masking.ratio, cfg.model.contrast_head.temperature) == (0.75, 1.0)
        assert not cfg.model.target_generator.normalize
        model = full[name]
        weights = model.reconstruction_weight, model.contrast_weight, model.position_weight
        assert weights == (1, 0.1, 1)
        assert (model.source, model.target) == ('encoder_cls', 'momentum_encoder')
        assert (model.position_head.loss, model.position_head.input_pe) == ('mse_onehot', 'keep')
        assert model.mask_shared and model.reconstructed_views == 2


def test_what_the_second_view_does_to_colours():
    for name in (DEFAULT, NATIVE):
        pipeline = Config.fromfile(FOLDER / name).train_dataloader.dataset.pipeline
        (crop, flip), (second_crop, second_flip, jitter, grey) = pipeline[0].transforms
        assert (second_crop, second_flip) == (crop, flip)
        assert (crop.type, crop.crop_ratio_range) == ('mmmask.ContrastiveCrop', (0.2, 1.0))
        assert 'alpha' not in crop and ContrastiveCrop(64).alpha == 0.1
        assert (flip.prob, jitter.prob, grey.prob) == (0.5, 0.8, 0.2)
        strengths = [jitter.transforms[0][k] for k in ('brightness', 'contrast', 'saturation')]
        assert [*strengths, jitter.transforms[0].hue] == [0.4, 0.4, 0.2, 0.1]


def test_shapes_of_224_px_and_of_64_px():
    for size, patch, visible in ((224, 16, 49), (64, 8, 16)):
        cfg = Config.fromfile(FOLDER / (DEFAULT if size == 224 else NATIVE)).model
        cfg.backbone.arch = ARCH
        model = MODELS.build(cfg)
        images = torch.randn(2, 3, size, size)
        mask = model.draw_mask(images)
        num_patches = (size // patch) ** 2
        assert mask.hidden.sum(1).tolist() == [num_patches - visible] * 2
        assert not mask.hidden.gather(1, mask.ids_keep).any()
        tokens, asked, places = model.encode(images, mask)
        assert tokens.shape == (2, visible + 1, 32)
        assert model.position_head.layers(asked).shape == (2, visible, num_patches)
        assert torch.equal(places, mask.ids_keep)
        prediction = model.neck((tokens,), mask)
        assert prediction.shape == (2, num_patches, 3 * patch**2)


def test_position_table_of_the_full_size():
    table = sincos_position_embedding((14, 14), 768, class_token=True)[0]
    assert table[0].abs().max() == 0
    assert table[1:].norm(dim=1) == pytest.approx(math.sqrt(384))
    second = table[2]  # row 0, column 1
    expected = {0: (0.8415, 0.8153, 0.7886), 192: (0.5403, 0.5791, 0.6149), 384: (0, 0, 0)}
    for start, values in (expected | {576: (1, 1, 1)}).items():
        assert second[start : start + 3].tolist() == pytest.approx(values, abs=5e-5)


# Losses at the start, and their lower bounds


def test_contrast_starts_at_chance():
    model = tiny(contrast_weight=1.0)
    with torch.no_grad():
        loss = model(torch.randn(2, 64, 3, 64, 64).unbind(), mode='loss')['loss_con']
    assert loss.item() == pytest.approx(16.636, abs=0.25)


def test_position_loss_starts_at_the_order_of_one():
    """LayerNorm and two Xavier layers: each logit has variance 4/3 · D / (D/2 + N)."""
    torch.manual_seed(0)
    head = PositionHead(768, 196)
    head.init_weights()
    tokens = F.layer_norm(torch.randn(4, 49, 768), (768,))
    loss, _ = head(tokens, RandomMask()(4, (14, 14)).ids_keep, (14, 14))
    assert loss.item() == pytest.approx(4 / 3 * 768 / (768 / 2 + 196), rel=0.05)


def test_noise_of_unit_variance_cannot_be_reconstructed():
    model = tiny()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for _ in range(15):
        losses = model(torch.randn(2, 16, 3, 64, 64).unbind(), mode='loss')
        assert losses['loss_rec_a'] > 0.97 and losses['loss_rec_b'] > 0.97
        optimizer.zero_grad()
        total(losses).backward()
        optimizer.step()


def test_every_term_falls_on_one_batch(views):
    model = tiny()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    history = []
    for _ in range(40):
        losses = seeded_loss(model, views)
        history.append({name: loss.item() for name, loss in losses.items()})
        optimizer.zero_grad()
        total(losses).backward()
        optimizer.step()
    first, last = history[0], history[-1]
    assert all(last[name] < first[name] for name in first if 'loss' in name)
    assert last['loss_pos_a'] < 0.1 * first['loss_pos_a']
    # Two directions of 8 images with T = 1: the bound is that of a simplex.
    floor = 2 * 0.1 * 2 * math.log(1 + 7 * math.exp(-1 - 1 / 7))
    assert floor < last['loss_con'] < first['loss_con']


# Gradients


def components_with_gradient(model, loss):
    model.zero_grad()
    loss.backward(retain_graph=True)
    return {
        name.partition('.')[0]
        for name, p in model.named_parameters()
        if p.grad is not None and p.grad.abs().sum() > 0
    }


def test_each_term_trains_the_encoder_and_its_own_components(views):
    model = tiny()
    losses = seeded_loss(model, views)
    reached = {}
    for name in ('loss_rec_a', 'loss_rec_b', 'loss_pos_a', 'loss_pos_b', 'loss_con'):
        reached[name] = components_with_gradient(model, losses[name])
        assert model.backbone.cls_token.grad.abs().sum() > 0
        assert all(p.grad is None for p in model.momentum_copy.parameters())
    for view in 'ab':
        assert reached[f'loss_rec_{view}'] == {'backbone', 'neck'}
        assert reached[f'loss_pos_{view}'] == {'backbone', 'position_head'}
    assert reached['loss_con'] == {'backbone', 'projector', 'contrast_head'}


@pytest.mark.parametrize('source', SOURCES)
def test_sources_and_targets(source, views):
    """With equal networks every target offers the same keys, so the loss is the same."""
    values = {}
    for target in TARGETS:
        model = tiny(source, target=target)
        loss = seeded_loss(model, views)['loss_con']
        values[target] = loss.item()
        decoder = {'neck'} if source == 'decoder_cls' else set()
        expected = {'backbone', 'projector', 'contrast_head'} | decoder
        assert components_with_gradient(model, loss) == expected
        copied = set() if model.momentum_copy is None else set(model.momentum_copy.module)
        chain = {'backbone', 'projector'} | decoder
        assert copied == dict(momentum_encoder=chain, momentum_head={'projector'}).get(
            target, set()
        )
    assert values == {target: pytest.approx(values['stopgrad'], rel=1e-5) for target in TARGETS}


def test_only_simclr_has_a_gradient_through_the_keys(views):
    gradients = {}
    for target in TARGETS:
        model = tiny(target=target)
        seeded_loss(model, views)['loss_con'].backward()
        gradients[target] = model.projector.fc0.weight.grad
    torch.testing.assert_close(gradients['momentum_encoder'], gradients['stopgrad'])
    torch.testing.assert_close(gradients['momentum_head'], gradients['stopgrad'])
    assert not torch.allclose(gradients['simclr'], gradients['stopgrad'], rtol=0.01)


def test_what_the_momentum_encoder_changes(views):
    """Keys depend on the copy of the encoder or of the head that the target selects."""
    for target, moved in (('momentum_encoder', True), ('momentum_head', False)):
        model = tiny(target=target)
        masks = model.draw_masks(*views)
        tokens = [model.encode(*pair)[0] for pair in zip(views, masks, strict=True)]
        before = model.keys(views, masks, tokens, None)
        nn.init.normal_(model.backbone.cls_token)
        after = model.keys(views, masks, tokens, None)
        assert torch.equal(before[0], after[0])  # the online encoder has no influence
        if moved:
            nn.init.normal_(model.momentum_copy.module['backbone'].cls_token)
        nn.init.normal_(model.momentum_copy.module['projector'].fc0.weight)
        assert not torch.allclose(before[0], model.keys(views, masks, tokens, None)[0])


# Momentum copies


def test_copies_start_equal_and_then_average(views):
    model = tiny()
    pairs = {
        name: (p, model.get_parameter(name))
        for name, p in model.momentum_copy.module.named_parameters()
    }
    assert len(pairs) > 20
    assert all(torch.equal(*pair) for pair in pairs.values())
    model.momentum_copy.update()
    before = {name: p.clone() for name, (p, _) in pairs.items()}
    with torch.no_grad():
        for _, online in pairs.values():
            online.add_(torch.randn_like(online))
    model.momentum_copy.update()
    for name, (average, online) in pairs.items():
        torch.testing.assert_close(average, 0.99 * before[name] + 0.01 * online)


def test_exchanging_the_views_changes_nothing_but_names(views):
    model = tiny()
    ordered, exchanged = seeded_loss(model, views), seeded_loss(model, views[::-1])
    assert total(exchanged).item() == pytest.approx(total(ordered).item(), rel=1e-6)
    assert exchanged['loss_rec_a'].item() == pytest.approx(ordered['loss_rec_b'].item(), rel=1e-6)


def test_masks_are_shared_or_not(views):
    mask_a, mask_b = tiny().draw_masks(*views)
    assert torch.equal(mask_a.hidden, mask_b.hidden)
    mask_a, mask_b = tiny(mask_shared=False).draw_masks(*views)
    assert not torch.equal(mask_a.hidden, mask_b.hidden)


def test_without_its_tasks_it_is_mae_on_both_views(views):
    model = tiny(contrast_weight=0.0, position_weight=0.0)
    assert {name.partition('.')[0] for name, _ in model.named_parameters()} == {'backbone', 'neck'}
    losses = seeded_loss(model, views)
    baseline = build_model('demo/mae_vit-tiny_digits.py')
    baseline.backbone, baseline.neck = model.backbone, model.neck
    baseline.target_generator.normalize = False
    assert {name: loss.item() for name, loss in losses.items()} == {
        f'loss_rec_{name}': seeded_loss(baseline, view)['loss'].item()
        for name, view in zip('ab', views, strict=True)
    }
    model.reconstructed_views = 1
    assert seeded_loss(model, views) == {'loss_rec_a': losses['loss_rec_a']}


def test_weights_multiply_the_losses(views):
    plain = seeded_loss(tiny(contrast_weight=1.0), views)
    weights = dict(reconstruction_weight=2.0, contrast_weight=3.0, position_weight=4.0)
    weighted = seeded_loss(tiny(**weights), views)
    for name, weight in (('rec_a', 2), ('rec_b', 2), ('con', 3), ('pos_a', 4), ('pos_b', 4)):
        expected = weight * plain[f'loss_{name}'].item()
        assert weighted[f'loss_{name}'].item() == pytest.approx(expected, rel=1e-6)


# Positions


def test_a_random_encoder_reveals_positions_unless_they_are_dropped():
    """On noise with a frozen encoder, only the position embedding contains the position."""
    accuracies = {}
    for input_pe in ('keep', 'drop_all'):
        model = tiny(position_head=dict(input_pe=input_pe, loss='ce'))
        head, correct = model.position_head, []
        optimizer = torch.optim.Adam(head.parameters(), lr=1e-2)
        for step in range(120):
            images = torch.randn(16, 3, 64, 64)
            with torch.no_grad():
                _, asked, places = model.encode(images, model.draw_mask(images))
            loss, accuracy = head(asked, places, (8, 8))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if step >= 100:
                correct.append(accuracy.item())
        accuracies[input_pe] = sum(correct) / len(correct)
    assert accuracies['keep'] > 4 / 64
    assert accuracies['drop_all'] == pytest.approx(1 / 64, abs=0.01)


def test_dropping_a_subset_replaces_its_rows_and_predicts_them(views):
    model = tiny(position_head=dict(input_pe='drop_subset', loss='ce'))
    head, mask = model.position_head, model.draw_mask(views[0])
    table = model.backbone.position((8, 8))
    position, chosen = head.drop(table, mask)
    assert chosen.shape == (8, 12)  # 75 % of 16
    dropped = torch.zeros(8, 65, dtype=torch.bool)
    dropped.scatter_(1, 1 + mask.ids_keep.gather(1, chosen), True)
    assert dropped.sum(1).tolist() == [12] * 8
    expected = torch.where(dropped[..., None], head.dropped_position, table)
    assert torch.equal(position, expected)

    torch.manual_seed(1)
    tokens, asked, places = head.encode(model.backbone, views[0], mask)
    torch.manual_seed(1)
    position, chosen = head.drop(table, mask)
    expected = model.backbone(views[0], mask, position)[-1]
    assert torch.equal(tokens, expected)
    for image in range(8):
        for index, number in enumerate(chosen[image].tolist()):
            assert torch.equal(asked[image, index], tokens[image, 1 + number])
            assert places[image, index] == mask.ids_keep[image, number]
    head(asked, places, (8, 8))[0].backward()
    assert head.dropped_position.grad.abs().sum() > 0


def test_a_single_visible_patch_is_predicted():
    """75 % of one patch rounds down to none, whose mean loss would be NaN."""
    model = tiny(position_head=dict(input_pe='drop_subset', loss='ce'))
    chosen = model.position_head.drop(model.backbone.position((8, 8)), RandomMask(0.98)(3, (8, 8)))
    assert chosen[1].tolist() == [[0]] * 3


def test_without_positions_the_order_of_the_patches_has_no_effect(views):
    """Permuting patches permutes their tokens and changes nothing else."""
    model = tiny(position_head=dict(input_pe='drop_all', loss='ce'))
    order = torch.randperm(64)
    cells = views[0].unflatten(2, (8, 8)).unflatten(4, (8, 8)).transpose(3, 4).flatten(2, 3)
    shuffled = cells[:, :, order].unflatten(2, (8, 8)).transpose(3, 4).flatten(4).flatten(2, 3)
    mask = keep_all(8, (8, 8))
    plain, asked, places = model.encode(views[0], mask)
    _, asked_shuffled, _ = model.encode(shuffled, mask)
    torch.testing.assert_close(asked_shuffled, asked[:, order], atol=1e-5, rtol=1e-4)
    assert torch.equal(places, mask.ids_keep)
    assert torch.equal(plain, model.backbone(views[0], mask)[-1])  # the other tasks use positions


def test_smoothing_falls_with_the_training():
    head = PositionHead(32, 64, loss='ce', smoothing=0.8)
    assert head.sigma == 0.8
    head.set_progress(0.75)
    assert head.sigma == pytest.approx(0.2)
    head.set_progress(1.0)
    tokens, places = torch.randn(2, 5, 32), torch.randint(64, (2, 5))
    expected = F.cross_entropy(head.layers(tokens).flatten(0, 1), places.flatten())
    assert head(tokens, places, (8, 8))[0].item() == pytest.approx(expected.item())


def test_a_decoder_gives_its_class_token_first():
    torch.manual_seed(0)
    decoder = TokenDecoder(32, 192, 16, 1, 2)
    mask = RandomMask(0.75)(2, (4, 4))
    tokens = torch.randn(2, 5, 32)
    decoded = decoder.decode_all(tokens, mask)
    assert decoded.shape == (2, 17, 16)
    assert torch.equal(decoded[:, 1:], decoder.decode(tokens, mask))
    changed = tokens.clone()
    changed[:, 0] += 1  # the class token takes part and changes most
    difference = (decoder.decode_all(changed, mask) - decoded).norm(dim=2)
    assert (difference.argmax(dim=1) == 0).all()


# Errors


def test_one_view_is_not_enough(views):
    with pytest.raises(ValueError, match='CMAEMao compares 2 views of each image but got 1'):
        tiny()(views[0], mode='loss')


def test_positions_of_another_grid_are_an_error():
    model, images = tiny(), torch.randn(2, 3, 64, 96)
    with pytest.raises(ValueError, match='num_positions=64 .* 8x12 patches .* set .*img_size'):
        model([images, images], mode='loss')


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(source='encoder'), "source='encoder' is not one of"),
        (dict(target='momentum'), "target='momentum' is not one of"),
        (dict(reconstructed_views=0), 'reconstructed_views=0 is not 1 or 2'),
        (dict(reconstructed_views=3), 'reconstructed_views=3 is not 1 or 2'),
        (dict(contrast_head=dict(temperature=0.0)), 'temperature=0.0 must be above 0'),
        (dict(position_head=dict(loss='mse')), "loss='mse' is not one of"),
        (dict(position_head=dict(input_pe='none')), "input_pe='none' is not one of"),
        (dict(momentum=1.5), r'momentum=1.5 must lie in \[0, 1\]'),
    ],
)
def test_invalid_options_are_errors(changes, message):
    with pytest.raises(ValueError, match=message):
        tiny(**changes)


def test_masks_are_named_tuples_of_the_generator(views):
    """With a mask that hides nothing, the encoder sees the whole image."""
    model = tiny()
    model.masking.forward = lambda number, grid, *_: keep_all(number, grid)
    mask, _ = model.draw_masks(*views)
    assert isinstance(mask, Mask)
    torch.testing.assert_close(model.encode(views[0], mask)[0], model.backbone(views[0])[-1])


def test_an_encoder_without_class_token_is_refused():
    with pytest.raises(ValueError, match='CMAEMao needs a class token, which MaskedVision.* use a'):
        build_model('demo/cmae-mao_vit-tiny_digits.py', backbone=dict(with_cls_token=False))

"""Numbers of the LocalMIM reference implementation for Swin."""

import pytest
import torch
from conftest import ROOT, build_model, trainable
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper

from mmmask.masking import mask_from_scores
from mmmask.registry import MODELS

CONFIGS = {
    name: f'localmim/localmim_swin-{name}_{setting}_in1k.py'
    for name, setting in (
        ('base-hog', '8xb256-amp-coslr-400e'),
        ('base-pixel', '8xb256-amp-coslr-400e'),
        ('large-hog', '8xb128-accum4-amp-coslr-800e'),
    )
}
UNITS = (0, 5, 9, 14, 18, 22, 27, 30, 33, 38, 41, 48)


def config_of(name):
    return Config.fromfile(ROOT / 'configs' / CONFIGS[name])


@pytest.mark.parametrize(
    ('name', 'total', 'encoder', 'decoders'),
    [
        ('base-hog', 87_761_872, 86_746_808, [70_134, 271_286, 336_822, 336_822]),
        ('base-pixel', 88_641_592, 86_746_808, [79_104, 363_392, 726_144, 726_144]),
        ('large-hog', 196_450_028, 195_262_932, [78_326, 304_054, 402_358, 402_358]),
    ],
)
def test_parameter_counts(on_meta, name, total, encoder, decoders):
    model = on_meta(config_of(name).model)
    assert trainable(model) == total
    assert trainable(model.backbone) == encoder  # with the tap norms
    assert [trainable(decoder) for decoder in model.neck.decoders] == decoders
    assert all(parameter.requires_grad for parameter in model.parameters())


def shared(units, num_images):
    scores = torch.ones(num_images, 49)
    scores[:, list(units)] = 0
    return mask_from_scores(scores, len(units))


@pytest.fixture(scope='module')
def swin_base():
    return build_model(CONFIGS['base-hog']).eval()


def test_tokens_taps_predictions_and_targets_of_swin_b(swin_base, photographs):
    tokens = []
    hooks = [
        stage.blocks[-1].ffn.register_forward_hook(
            lambda *args: tokens.append(tuple(args[2].shape))
        )
        for stage in swin_base.backbone.stages
    ]
    with torch.no_grad():
        taps = swin_base.backbone(photographs[:1], shared(UNITS, 1))
        prediction = swin_base.neck(taps, shared(UNITS, 1))
        target = swin_base.target_generator(photographs[:1])
    for hook in hooks:
        hook.remove()
    assert tokens == [(1, 768, 128), (1, 192, 256), (1, 48, 512), (1, 12, 1024)]
    shapes = [(1, 192, 256), (1, 48, 512), (1, 12, 1024), (1, 12, 1024)]
    assert [tuple(tap.shape) for tap in taps] == shapes
    shapes = [(1, 784, 54), (1, 196, 54), (1, 49, 54), (1, 49, 54)]
    assert [tuple(p.shape) for p in prediction] == shapes
    assert [tuple(t.shape) for t in target] == shapes
    assert swin_base.draw_mask(photographs).hidden.sum(1).tolist() == [37] * 4


def test_positions_of_predictions_are_those_of_the_pixels(swin_base):
    """Without blocks a prediction depends on its own token only: hidden units are equal."""
    decoder = swin_base.neck.decoders[0]
    mask = shared(UNITS, 1)
    torch.manual_seed(0)
    tap = torch.randn(1, 192, 256)
    marked = tap.clone()
    marked[:, 16 * 3 + 5] += 1  # unit 14 at (2, 0), its token (1, 1) of 4 x 4
    with torch.no_grad():
        for layer in decoder.layers:
            layer.attn.proj.weight.zero_()
        difference = decoder((marked,), mask) - decoder((tap,), mask)
    changed = difference.abs().sum(2).view(28, 28) > 1e-4
    assert changed.nonzero().tolist() == [[9, 1]]


def test_random_initialisation_starts_where_the_reference_does():
    """On noise, the loss is about 5.2 with HOG and 4.9 with pixels."""
    noise = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    for name, expected in (('base-hog', 5.2), ('base-pixel', 4.9)):
        model = build_model(CONFIGS[name])
        with torch.no_grad():
            losses = model.loss(noise)
        assert sum(losses.values()).item() == pytest.approx(expected, abs=0.4)


def test_zero_predictions_of_both_targets():
    """0.2222 with HOG for any mask, also on a constant image; 3.9928 with pixels."""
    noise = torch.randn(2, 3, 224, 224)
    mask = shared(UNITS, 2)

    def zero_loss(name, images):
        model = config_of(name).model
        target = MODELS.build(model.target_generator)(images)
        head = MODELS.build(model.head)
        return sum(head([torch.zeros_like(t) for t in target], target, mask).values())

    assert zero_loss('base-hog', noise).item() == pytest.approx(4 / 18, abs=1e-5)
    flat = torch.full_like(noise, 0.3)
    assert zero_loss('base-hog', flat).item() == pytest.approx(4 / 18, abs=1e-5)
    assert zero_loss('base-pixel', noise).item() == pytest.approx(3.9928, abs=2e-4)


@pytest.mark.parametrize(
    ('name', 'lr', 'batch', 'epochs', 'warmup'),
    [
        ('base-hog', 8e-4, 2048, 400, 40),
        ('base-pixel', 8e-4, 2048, 400, 40),
        ('large-hog', 1.6e-3, 4096, 800, 40),
    ],
)
def test_pre_training_recipes(on_meta, name, lr, batch, epochs, warmup):
    cfg = config_of(name)
    wrapper = cfg.optim_wrapper
    real_batch = cfg.train_dataloader.batch_size * 8 * wrapper.get('accumulative_counts', 1)
    assert real_batch == batch
    assert wrapper.optimizer.lr * batch / 256 == pytest.approx(lr)
    assert wrapper.optimizer.betas == (0.9, 0.95)
    assert (cfg.train_cfg.max_epochs, cfg.param_scheduler.warmup_epochs) == (epochs, warmup)
    assert cfg.param_scheduler.eta_min == 0
    assert cfg.model.backbone.get('coordinates', 'true') == 'true'

    model = on_meta(config_of(name).model)
    optimizer = build_optim_wrapper(model, wrapper).optimizer
    decays = {
        id(p): group['weight_decay'] for group in optimizer.param_groups for p in group['params']
    }
    free = [n for n, p in model.named_parameters() if decays[id(p)] == 0]
    tensors = [n for n, p in model.named_parameters() if p.ndim > 1]
    assert set(free) & set(tensors) == {n for n in tensors if 'position_bias' in n or 'token' in n}
    assert sum('position_bias' in n for n in free) == 24 and sum('token' in n for n in free) == 4
    assert {group['weight_decay'] for group in optimizer.param_groups} == {0.0, 0.05}


def test_layer_norms_of_the_reference(swin_base):
    norms = [m for m in swin_base.modules() if isinstance(m, torch.nn.LayerNorm)]
    assert len(norms) == 48 + 3 + 1 + 4 + 12  # blocks, mergings, patches, taps, decoders
    assert {norm.eps for norm in norms} == {1e-6}


def test_swin_l_has_windows_of_14_and_7(on_meta):
    model = on_meta(config_of('large-hog').model)
    windows = [stage.blocks[0].attn.window_size for stage in model.backbone.stages]
    assert windows == [14, 14, 14, 7]
    assert {m.eps for m in model.modules() if isinstance(m, torch.nn.LayerNorm)} == {1e-6}


def test_scrambled_coordinates_change_the_released_models_features(swin_base, photographs):
    with torch.no_grad():
        true = swin_base.backbone(photographs[:1], shared(UNITS, 1))
        swin_base.backbone.coordinates = 'scrambled'
        scrambled = swin_base.backbone(photographs[:1], shared(UNITS, 1))
        swin_base.backbone.coordinates = 'true'
    assert torch.equal(true[0], scrambled[0])
    assert all((a - b).abs().max() > 1e-3 for a, b in zip(true[1:], scrambled[1:], strict=True))

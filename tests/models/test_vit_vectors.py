"""Numbers of the LocalMIM and MAE reference implementations."""

import re

import pytest
import torch
from conftest import ROOT, build_model, errors_but_for_data, trainable, with_options
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper

from mmmask.masking import RandomMask
from mmmask.models import MaskedRegressionHead
from mmmask.registry import MODELS, TRANSFORMS
from mmmask.targets import HOGTarget, PixelTarget

CONFIGS = {
    'base': 'localmim/localmim_vit-base-p16_8xb256-amp-coslr-100e_in1k.py',
    'large': 'localmim/localmim_vit-large-p16_8xb128-accum4-amp-coslr-800e_in1k.py',
}
README = (ROOT / 'configs/localmim/README.md').read_text()


def build_on_meta(config, options=''):
    """The model on the meta device."""
    cfg = Config.fromfile(ROOT / 'configs' / config)
    with torch.device('meta'):
        return MODELS.build((with_options(cfg, options) if options else cfg).model)


@pytest.mark.parametrize(
    ('size', 'total', 'encoder', 'decoders'),
    [
        ('small', 25_463_276, 21_592_320, [1_055_131, 1_023_771, 896_027, 896_027]),
        ('base', 89_916_140, 85_651_968, [1_153_435, 1_122_075, 994_331, 994_331]),
        ('large', 307_651_480, 303_106_048, [1_220_726, 1_191_094, 1_066_806, 1_066_806]),
    ],
)
def test_localmim_parameter_counts(size, total, encoder, decoders):
    if size == 'small':
        (options,) = re.findall(r'`--cfg-options (model.backbone.arch=\S+)`', README)
        model = build_on_meta(CONFIGS['base'], options)
    else:
        model = build_on_meta(CONFIGS[size])
    tap_norms = [trainable(decoder.input_norm) for decoder in model.neck.decoders]
    assert trainable(model) == total
    assert trainable(model.backbone) + sum(tap_norms) == encoder
    counts = [trainable(decoder) for decoder in model.neck.decoders]
    assert [n - norm for n, norm in zip(counts, tap_norms, strict=True)] == decoders
    frozen = {n: p.numel() for n, p in model.named_parameters() if not p.requires_grad}
    assert frozen == {'backbone.pos_embed': 197 * model.backbone.embed_dims}


@pytest.mark.parametrize(
    ('name', 'gpu_batch', 'batch', 'rate', 'epochs', 'warmup', 'final_rate'),
    [
        ('vit-base-p16_8xb256-amp-coslr-1600e', 256, 2048, 1.6e-3, 1600, 40, 1e-6),
        ('vit-base-p16_8xb256-amp-coslr-100e', 256, 2048, 1.6e-3, 100, 10, 1e-6),
        ('vit-large-p16_8xb128-accum4-amp-coslr-800e', 128, 4096, 2.4e-3, 800, 40, 1e-6),
        ('swin-base-hog_8xb256-amp-coslr-100e', 256, 2048, 8e-4, 100, 10, 0),
        ('swin-base-pixel_8xb256-amp-coslr-100e', 256, 2048, 8e-4, 100, 10, 0),
    ],
)
def test_pre_training_recipes(name, gpu_batch, batch, rate, epochs, warmup, final_rate):
    cfg = Config.fromfile(ROOT / f'configs/localmim/localmim_{name}_in1k.py')
    assert cfg.train_dataloader.batch_size == gpu_batch
    assert gpu_batch * 8 * cfg.optim_wrapper.get('accumulative_counts', 1) == batch
    optimizer = cfg.optim_wrapper.optimizer
    assert optimizer.lr * batch / 256 == pytest.approx(rate)
    assert (optimizer.type, optimizer.betas, optimizer.eps) == ('AdamW', (0.9, 0.95), 1e-8)
    assert optimizer.weight_decay == 0.05 and 'clip_grad' not in cfg.optim_wrapper
    schedule = cfg.param_scheduler
    assert (schedule.warmup_epochs, schedule.eta_min) == (warmup, final_rate)
    assert schedule.convert_to_iter_based and cfg.train_cfg.max_epochs == epochs
    assert cfg.train_dataloader.drop_last and cfg.randomness == dict(seed=0, diff_rank_seed=True)
    crop, _ = cfg.train_dataloader.dataset.pipeline
    crop = TRANSFORMS.build(crop)
    assert (crop.scale, crop.flip_prob) == ((224, 224), 0.5)
    assert (crop.crop_ratio_range, crop.interpolation) == ((0.2, 1.0), 'bicubic')


def test_readme_pairs_every_config_with_its_fine_tuning():
    rows = re.findall(r'^\| `(localmim_.*)` \| (.*) \|$', README, re.MULTILINE)
    named = {name for row, _ in rows for name in spell_out(row)}
    assert named == {path.name for path in (ROOT / 'configs/localmim').glob('*.py')}
    recipes = {recipe for _, cell in rows for recipe in re.findall(r'`(.*)`', cell)}
    folder = ROOT / 'configs/downstream/imagenet'
    assert recipes == {path.name for path in folder.glob('*_localmim*.py')}


def spell_out(name: str) -> list[str]:
    """'a{b,c}' -> ['ab', 'ac']."""
    before, brace, rest = name.partition('{')
    parts, _, after = rest.partition('}')
    return [before + part + after for part in parts.split(',')] if brace else [name]


@pytest.mark.parametrize(
    'options', re.findall(r'\| `([a-z_]+\.[^`]*=[^`]*)` \|', README.split('## Options')[1])
)
def test_documented_options_train(options, on_meta):
    name = 'swin-base-hog' if 'backbone' in options else 'vit-base-p16'
    path = ROOT / f'configs/localmim/localmim_{name}_8xb256-amp-coslr-100e_in1k.py'
    cfg = with_options(Config.fromfile(path), options)
    assert errors_but_for_data(cfg) == []
    model = on_meta(cfg.model)
    groups = build_optim_wrapper(model, cfg.optim_wrapper).optimizer.param_groups
    decay = {id(p): group['weight_decay'] for group in groups for p in group['params']}
    tokens = {decay[id(p)] for name, p in model.named_parameters() if name.endswith('token')}
    assert tokens == ({0.0} if 'no_decay' in options or 'swin' in name else {0.05})


def test_mae_parameter_count():
    # MAE ViT-B: 85.8 M encoder with final norm, 26.0 M decoder
    model = build_on_meta('mae/mae_vit-base-p16_8xb512-amp-coslr-300e_in1k.py')
    assert trainable(model.backbone) == 85_645_824 + 2 * 768
    block = 12 * 512 * 512 + 13 * 512
    assert trainable(model.neck) == 769 * 512 + 512 + 8 * block + 2 * 512 + 513 * 768


def test_taps_predictions_and_targets_of_vit_b(photographs):
    model = build_model(CONFIGS['base'])
    images = photographs[:1]
    with torch.no_grad():
        taps = model.backbone(images, model.draw_mask(images))
        result = model.predict(images)
    assert [tuple(tap.shape) for tap in taps] == [(1, 50, 768)] * 4
    shapes = [(1, 3136, 27), (1, 784, 27), (1, 196, 27), (1, 49, 27)]
    assert [tuple(p.shape) for p in result.prediction] == shapes
    assert [tuple(t.shape) for t in result.target] == shapes
    assert result.mask.hidden.sum().item() == 147


def test_random_initialisation_starts_where_the_reference_does(photographs):
    """The sum of the four losses of a random ViT-B is about 1.10 on real images."""
    model = build_model(CONFIGS['base'])
    with torch.no_grad():
        losses = model.loss(photographs)
    assert list(losses) == ['loss_scale0', 'loss_scale1', 'loss_scale2', 'loss_scale3']
    assert 1.05 < sum(losses.values()).item() < 1.15


def test_zero_predictions_on_noise_and_on_a_constant_image():
    mask = RandomMask(0.6)(2, (14, 14))
    head = MaskedRegressionHead()

    def zero_loss(images, target_generator):
        target = target_generator(images)
        return sum(head([torch.zeros_like(t) for t in target], target, mask).values())

    noise = torch.randn(2, 3, 224, 224)
    assert zero_loss(noise, HOGTarget(9)).item() == pytest.approx(0.444444, abs=1e-5)
    assert zero_loss(noise, HOGTarget(18)).item() == pytest.approx(0.222222, abs=1e-5)
    flat = torch.full((2, 3, 224, 224), 0.3)
    assert zero_loss(flat, HOGTarget(9)).item() == 0
    assert zero_loss(flat, HOGTarget(18, bias=True)).item() == pytest.approx(0.222222, abs=1e-5)


def test_zero_predictions_of_normalised_pixels():
    """Unbiased variance: a patch of n values has mean square (n - 1) / n."""
    target = PixelTarget((8, 16, 32, 32))(torch.randn(2, 3, 224, 224))
    losses = [t.square().mean().item() for t in target]
    assert losses == pytest.approx([191 / 192, 767 / 768, 3071 / 3072, 3071 / 3072], abs=1e-4)
    assert sum(losses) == pytest.approx(3.9928, abs=2e-4)

"""From files with other channels and ranges to a trained network and its pictures."""

import itertools
import runpy
import sys

import numpy as np
import pytest
import torch
from conftest import ROOT
from mmengine.config import Config
from PIL import Image

import mmmask
from mmmask.apis.rehearsal import RehearsalError, Split, compare_channels
from mmmask.apis.train import load_config, rehearse, train
from mmmask.apis.visualize import visualize
from mmmask.datasets import PixelFormat, config_text, measure_images
from mmmask.front.embed import _images_and_model
from mmmask.models import DataPreprocessor, MaskedVisionTransformer
from mmmask.registry import MODELS

tifffile = pytest.importorskip('tifffile', reason="reads TIFFs: pip install 'mmmask[tiff]'")
NUMBERS = itertools.count()
GREY = 'configs/channels/mae_vit-small-p16_1xb128-amp-coslr-300e_grey16.py'
BANDS = 'configs/channels/localmim_vit-small-p16-hog_1xb128-amp-coslr-300e_multispectral.py'
ARCH = dict(embed_dims=24, num_layers=4, num_heads=2, feedforward_channels=48)
SMALL = {
    'model.backbone.img_size': 64,
    'model.backbone.patch_size': 16,
    'train_dataloader.batch_size': 3,
    'train_dataloader.num_workers': 0,
    'train_dataloader.dataset.pipeline.0.scale': 64,
    'train_cfg.max_epochs': 1,
    'param_scheduler.warmup_epochs': 0,
    'visualizer.vis_backends': [dict(type='LocalVisBackend')],
}
SMALL_GREY = SMALL | {'model.neck.depth': 1, 'model.neck.embed_dims': 16, 'model.neck.num_heads': 2}
DECODER = dict(type='mmmask.ScaleDecoder', embed_dims=16, num_heads=2)
SMALL_BANDS = SMALL | {
    'model.backbone.out_indices': [0, 1, 2, 3],
    'model.neck.decoders': [dict(DECODER, scale=scale) for scale in (4, 2, 1, 0.5)],
}


def blocks(*shape, high):
    """Images of flat squares of 8 px."""
    values = np.random.default_rng(0).integers(0, high + 1, shape, dtype=np.uint16)
    return values.repeat(8, axis=1).repeat(8, axis=2)


@pytest.fixture
def grey(tmp_path):
    """Six 12-bit radiographs in 16-bit PNGs and TIFFs."""
    folder = tmp_path / 'grey'
    folder.mkdir()
    for number, image in enumerate(blocks(6, 8, 9, high=4095)):
        if number % 2:
            Image.fromarray(image).save(folder / f'{number}.png')
        else:
            tifffile.imwrite(folder / f'{number}.tif', image)
    return folder


@pytest.fixture
def bands(tmp_path):
    """Six images with 13 bands, in TIFF and NPY."""
    folder = tmp_path / 'bands'
    folder.mkdir()
    for number, image in enumerate(blocks(6, 8, 9, 13, high=9000)):
        if number % 2:
            np.save(folder / f'{number}.npy', image.transpose(2, 0, 1))
        else:
            tifffile.imwrite(folder / f'{number}.tif', image, planarconfig='contig')
    return folder


def own_config(folder, recipe, tmp_path, options, **measured):
    path = tmp_path / f'own{next(NUMBERS)}.py'
    path.write_text(config_text(measure_images(folder, **measured), ROOT / recipe, path))
    cfg = load_config(path, work_dir=str(tmp_path / 'work'), options=options)
    cfg.model.backbone.arch = ARCH
    cfg.experiment_name = f'{path.stem}-{tmp_path.name}'
    return cfg


def first_images(runner):
    batch = next(iter(runner.train_loop.dataloader))
    return runner.model.data_preprocessor(batch, True)['inputs']


def test_16_bit_greyscale_in_a_declared_window(grey, tmp_path):
    """Values are standardised by what was measured, and neither rounded nor black."""
    cfg = own_config(grey, GREY, tmp_path, SMALL_GREY, value_range=(0, 4095))
    crop = cfg.train_dataloader.dataset.pipeline[0]
    crop.crop_ratio_range, crop.scale, cfg.model.backbone.img_size = (1.0, 1.0), (64, 64), 64
    runner = train(cfg)
    images = torch.cat([first_images(runner) for _ in range(4)])
    assert images.shape[1:] == (1, 64, 64)
    assert images.mean().item() == pytest.approx(0, abs=0.15)
    assert images.std().item() == pytest.approx(1, abs=0.15)
    assert len(images.unique()) > 256
    assert runner.model.neck.project.out_features == 256  # 16² pixels
    checkpoint = tmp_path / 'work' / 'epoch_1.pth'
    picture = visualize(cfg, checkpoint, out=tmp_path / 'a.png', num_images=2)
    pixels = np.asarray(Image.open(picture))
    names = [str(path) for path in sorted(grey.iterdir())[:2]]
    own = visualize(cfg, checkpoint, names, tmp_path / 'b.png')
    assert np.ptp(pixels) == 255 and np.asarray(Image.open(own)).shape == pixels.shape


def test_thirteen_bands(bands, tmp_path, capsys):
    """The same with HOG of the strongest gradients, from weights for RGB."""
    backbone = MaskedVisionTransformer(ARCH, 64, 16)
    torch.save(backbone.state_dict(), tmp_path / 'rgb.pth')
    cfg = own_config(bands, BANDS, tmp_path, SMALL_BANDS, value_range=(0, 10000), clip=True)
    assert len(cfg.model.data_preprocessor.mean) == 13
    hook = dict(type='mmmask.LoadBackboneHook', checkpoint=str(tmp_path / 'rgb.pth'))
    cfg.custom_hooks = [hook]
    runner = train(cfg)
    printed = capsys.readouterr().out
    assert 'patch_embed.projection.weight was adapted from 3 to 13 channels' in printed
    assert '6 images, 64 x 64 px, 13 channels' in printed
    targets = runner.model.target_generator(first_images(runner))
    assert [target.shape[-1] for target in targets] == [9] * 4
    checkpoint = tmp_path / 'work' / 'epoch_1.pth'
    picture = visualize(cfg, checkpoint, out=tmp_path / 'a.png', num_images=2)
    assert np.ptp(np.asarray(Image.open(picture))) > 200


def test_a_wrong_statement_is_one_sentence(bands, tmp_path):
    options = SMALL_BANDS | {'train_dataloader.dataset.channels': 3}
    cfg = own_config(bands, BANDS, tmp_path, options, value_range=(0, 9000))
    message = r'0.tif: the file has 13 channels, but channels=3: state channels=13'
    with pytest.raises(RehearsalError, match=message) as error:
        rehearse(cfg)
    assert len(str(error.value).splitlines()) == 2


@pytest.mark.parametrize(
    ('in_channels', 'mean', 'bgr_to_rgb', 'message'),
    [
        (13, 13, False, None),
        (13, 1, False, None),
        (3, 13, False, 'have 13 channels, but the network takes 3. Set model.backbone.in_channels'),
        (13, 4, False, 'images have 13 channels, but model.data_preprocessor.mean has 4 values'),
        (13, 1, True, 'turns BGR into RGB, which needs three. Set its bgr_to_rgb=False'),
    ],
)
def test_images_are_compared_with_the_network(in_channels, mean, bgr_to_rgb, message):
    model = torch.nn.Module()
    model.backbone = torch.nn.Conv2d(in_channels, 8, 4)
    model.data_preprocessor = DataPreprocessor([1] * mean, [2] * mean, bgr_to_rgb=bgr_to_rgb)
    split = Split('train_dataloader', None, [dict(inputs=torch.zeros(13, 8, 8))])
    found = list(compare_channels(model, [split]))
    assert len(found) == (message is not None)
    assert not found or message in found[0]


@pytest.mark.parametrize('channels', [2, 4])
def test_recipe_with_another_number_of_bands(monkeypatch, channels):
    monkeypatch.setenv('CHANNELS', str(channels))
    cfg = Config.fromfile(ROOT / BANDS)
    cfg.model.backbone.update(arch=ARCH, out_indices=[0, 1, 2, 3])
    model = MODELS.build(cfg.model)
    images = torch.rand(2, channels, 224, 224) * 255
    data = model.data_preprocessor(dict(inputs=images, data_samples=None))
    assert torch.equal(data['inputs'], (images - 64) / 64)
    losses = model(data['inputs'], mode='loss')
    assert all(loss.isfinite() for loss in losses.values())


@pytest.fixture(scope='module')
def scans(tmp_path_factory):
    """12-bit scans of two classes, six each, and the checkpoint of a training in their range."""
    folder = tmp_path_factory.mktemp('scans')
    for number, image in enumerate(blocks(12, 8, 9, high=4095)):
        path = folder / 'images' / 'ab'[number % 2] / f'{number}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    arch = dict(embed_dims=32, num_layers=4, num_heads=2, feedforward_channels=64)
    options = {
        'model.backbone.arch': arch,
        'model.backbone.out_indices': [0, 1, 2, 3],
        'train_dataloader.dataset.value_range': [0, 4095],
    }
    checkpoint = mmmask.pretrain(
        folder / 'images', folder / 'run', epochs=1, batch_size=5, workers=0, cfg_options=options,
        model='vit-tiny-p8',
    )  # fmt: skip
    return folder, checkpoint


def test_a_declared_range_reaches_all_data_sets_of_a_run(scans):
    cfg = load_config(scans[0] / 'run' / 'config.py')
    (knn,) = [hook for hook in cfg.custom_hooks if 'bank' in hook]
    for dataset in (cfg.train_dataloader.dataset, knn.bank, knn.query):
        assert list(dataset.value_range) == [0, 4095]


def test_the_range_of_a_training_holds_for_all_that_uses_its_checkpoint(scans, tmp_path):
    folder, checkpoint = scans
    images, _ = _images_and_model(str(checkpoint), folder / 'images' / 'a')
    assert images.pixel_format == PixelFormat(value_range=[0, 4095])
    values = np.asarray(Image.open(folder / 'images/a/0.png'))
    expected = np.rint(values * (255 / 4095)).max()
    assert images.read_image('0.png').max() == expected
    cfg = load_config(
        ROOT / 'configs/downstream/folder/probe.py', data=[str(folder / 'images')],
        pretrained=str(checkpoint), work_dir=str(tmp_path), test_only=True,
    )  # fmt: skip
    for dataset in (cfg.test_dataloader.dataset, cfg.test_cfg.bank):
        assert list(dataset.value_range) == [0, 4095]
    run = Config.fromfile(folder / 'run' / 'config.py')
    assert cfg.model.data_preprocessor.mean == run.model.data_preprocessor.mean
    assert cfg.model.data_preprocessor.to_rgb
    mmmask.visualize(folder / 'run', tmp_path / 'a.png', images=folder / 'images', num_images=2)
    mmmask.embed(folder / 'run', folder / 'images', tmp_path / 'features.npy', workers=0)
    assert len(np.load(tmp_path / 'features.npy')) == 12


def test_a_backbone_for_bands_is_measured_and_embedded_on_bands(bands, tmp_path):
    """Its mean and standard deviation come with its range."""
    cfg = own_config(bands, BANDS, tmp_path, SMALL_BANDS, value_range=(0, 9000))
    train(cfg)
    mmmask.embed(tmp_path / 'work/epoch_1.pth', bands, tmp_path / 'features.npy', workers=0)
    assert np.load(tmp_path / 'features.npy').shape == (6, 24)


def test_files_whose_range_is_not_stated_end_in_a_sentence(scans, tmp_path, monkeypatch, capsys):
    """By exit code 2, and nothing is scaled by its type or by its own values."""
    config = ROOT / 'configs/demo/mae_vit-tiny_digits.py'
    words = [str(config), '--dry-run', '--data', str(scans[0] / 'images' / 'a')]
    words += ['--cfg-options', 'train_dataloader.batch_size=2', 'train_dataloader.num_workers=0']
    monkeypatch.setattr(sys, 'argv', ['train.py', *words])
    with pytest.raises(SystemExit) as leave:
        runpy.run_path(str(ROOT / 'tools/train.py'), run_name='__main__')
    assert leave.value.code == 2
    assert (
        '/a/0.png: the file holds uint16, and the range of the images is not stated: measure it '
        'by tools/image_statistics.py FOLDER and set value_range=(lowest, highest) of the data '
        'set, or convert the file to 8 bits.'
    ) in capsys.readouterr().err

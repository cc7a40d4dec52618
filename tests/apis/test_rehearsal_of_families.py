"""A rehearsal of families of configs, on a few images in the places that the configs name.

Layers are an eighth as wide. Detectors and segmentors are rehearsed, with their training, in
``test_own_data.py`` and ``test_train_downstream.py``.
``python tests/apis/test_rehearsal_of_families.py`` prints the CPU time of each.
"""

import itertools
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import redirect_stdout, suppress
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from mmengine.config import Config
from mmengine.registry import DefaultScope
from PIL import Image

from mmmask.apis.rehearsal import RehearsalEnd, RehearsalHook
from mmmask.apis.train import build_runner, load_config, rehearse

CONFIGS = ROOT / 'configs'
GREY = '1 channels'
FOLDER = '24 images, 224 x 224 px, 3 channels'
CLASSES = '24 images, 3 classes'
# What the table must say about the first loader, by the config.
FAMILIES = {
    'localmim/localmim_vit-base-p16_8xb256-amp-coslr-100e_in1k': FOLDER,
    'mae/mae_vit-base-p16_8xb512-amp-coslr-300e_in1k': FOLDER,
    'evolved/ehm_vit-base-p16_8xb512-amp-coslr-300e_in1k': FOLDER,
    'cmae/cmae-huang_vit-base-p16_8xb512-amp-coslr-300e_in1k': FOLDER,
    'crossmae/crossmae_vit-base-p16_8xb512-amp-coslr-800e_in1k': FOLDER,
    'downstream/imagenet/vit-base-p16_finetune_8xb128-amp-coslr-100e_in1k': CLASSES,
    'downstream/tiny_imagenet/vit-tiny-p8_probe_tiny-imagenet-64px': CLASSES,
    'downstream/channels/vit-small-p16_knn': GREY,
    'downstream/fine_grained/vit-base-p16_8xb32-amp-coslr-100e_cub200-224px': '8 images, 200 class',
    'downstream/retrieval/vit-tiny-p8_classes-64px': CLASSES,
}  # fmt: skip

# Images


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, pixels) if path.suffix == '.npy' else Image.fromarray(pixels).save(path)


def make_data() -> None:
    """A few images of each data set, in the folder ``data``."""
    random = np.random.default_rng(0)

    def photograph(height=96, width=96):
        return random.integers(0, 256, (height, width, 3), dtype=np.uint8)

    for (part, count), name in itertools.product((('train', 8), ('val', 4)), 'abc'):
        for index in range(count):
            image = photograph()
            for place in ('imagenet', 'images', 'tiny-imagenet.zip'):
                save(Path(f'data/{place}/{part}/{name}/{index}.png'), image)
            save(
                Path(f'grey/{part}/{name}/{index}.png'),
                random.integers(0, 4096, (96, 96)).astype(np.uint16),
            )
    make_birds(photograph)


def make_birds(photograph) -> None:
    root, names = Path('data/CUB_200_2011'), [f'bird/{index}.jpg' for index in range(12)]
    for name in names:
        save(root / 'images' / name, photograph(300, 300))
    for file, values in (
        ('images', names),
        ('image_class_labels', range(1, 13)),
        ('train_test_split', [int(index < 8) for index in range(12)]),
    ):
        lines = (f'{number} {value}\n' for number, value in enumerate(values, 1))
        (root / f'{file}.txt').write_text(''.join(lines))


# Networks

WIDTHS = {'in_channels', 'out_channels', 'embed_dims', 'hid_channels'}
VIT = dict(num_layers=12, num_heads=12, embed_dims=96, feedforward_channels=192)
SMALL = dict(VIT, num_heads=6, embed_dims=48)
ARCHITECTURES = {
    ('MaskedVisionTransformer', 'base'): VIT,
    ('VisionTransformer', 'base'): VIT,
    ('VisionTransformer', 'deit-small'): SMALL,
}


def walk(value, path='') -> Iterator[tuple[str, str, object]]:
    """Dotted path, key and value of all that dicts hold."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        place = f'{path}.{key}' if path else str(key)
        if isinstance(value, dict):
            yield place, key, item
        if isinstance(item, dict | list | tuple):
            yield from walk(item, place)


def shrink(cfg: Config) -> dict:
    """The options that make a config small."""
    options = {}
    model, backbone = cfg.model, cfg.model.backbone
    kind = backbone.type.rpartition('.')[-1]
    if isinstance(backbone.get('arch'), str):
        arch = ARCHITECTURES[kind, backbone.arch]
        options['model.backbone.arch'] = dict(arch, _delete_=True)
    small = 'tiny_imagenet' in cfg.filename or 'vit-tiny' in cfg.filename
    for path, key, value in walk(model.to_dict(), 'model'):
        if key == 'type' and value == 'mmmask.ScaleDecoder':  # its default is 256
            options[path.removesuffix('type') + 'embed_dims'] = 32
        inside = re.match(r'model\.(backbone|data_preprocessor)\.', path)
        is_width = key in WIDTHS and not (inside and key != 'embed_dims')
        if is_width and not small and not path.startswith('model.backbone.arch'):
            options[path] = value // 8 if value >= 64 else value
    return options


def prepare(name: str) -> Config:
    """The config of a family with a small network, few workers and the images of ``data``."""
    folder = name.split('/')[1]
    data = dict(channels='grey', retrieval='data/images').get(folder, 'data/imagenet')
    os.environ.update(NUM_CLASSES='3', DATA=data)
    path = CONFIGS / f'{name}.py'
    cfg = Config.fromfile(path)
    options = shrink(cfg)
    loaders = [part for part in ('train', 'val', 'test') if cfg.get(f'{part}_dataloader')]
    for part in loaders:
        options |= {f'{part}_dataloader.num_workers': 0}
    if 'train' in loaders:
        options['train_dataloader.batch_size'] = 2
    for key, _, _ in walk(cfg.to_dict()):
        if 'tiny_imagenet/' in name and key.endswith('num_classes'):
            options[key] = 3
    if cfg.get('test_cfg') and cfg.test_cfg.get('k'):
        options['test_cfg.k'] = [5]
    return load_config(path, options=options, work_dir='work', amp='off')


def rehearse_family(name: str) -> str:
    """Rehearse the training or the test of a config, and return the table."""
    DefaultScope._instance_dict.clear()
    cfg = prepare(name)
    cfg.log_level, cfg.experiment_name = 'WARNING', name.replace('/', '-')
    shown = StringIO()
    with redirect_stdout(shown):
        if cfg.get('train_dataloader'):
            rehearse(cfg)
        else:
            cfg.work_dir = 'tested'
            runner, _ = build_runner(cfg)
            runner._init_model_weights()
            runner.register_hook(RehearsalHook(only=True))
            with suppress(RehearsalEnd):
                runner.test()
    return ' '.join(shown.getvalue().replace('│', ' ').split())


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp('data')
    before = Path.cwd()
    os.chdir(root)
    make_data()
    yield root
    os.chdir(before)


@pytest.mark.parametrize('name', FAMILIES)
def test_rehearsal(name, data, monkeypatch):
    monkeypatch.chdir(data)
    monkeypatch.setenv('COLUMNS', '160')
    monkeypatch.setenv('DATA', '')
    monkeypatch.setenv('NUM_CLASSES', '')
    table = rehearse_family(name)
    first, _, rest = table.partition('_dataloader ')
    assert FAMILIES[name] in rest.split('_dataloader')[0]
    assert 'rehearsal' in rest
    if first.endswith('train'):
        assert 'estimated end' in rest and 'a step' in rest
    assert not Path('work').exists()


def main() -> None:
    sys.stderr = StringIO()
    print('| config | CPU time |\n|---|---|')
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        make_data()
        for name in FAMILIES:
            start = time.process_time()
            rehearse_family(name)
            print(f'| `{name}` | {time.process_time() - start:.1f} s |', flush=True)


if __name__ == '__main__':
    main()

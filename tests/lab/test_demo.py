import io
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from mmengine.config import Config
from PIL import Image

from mmmask.apis.train import load_config
from mmmask.apis.visualize import build_model
from mmmask.lab.demo import CONFIG, PHOTOGRAPHS, run_demo, sparkline, write_config
from mmmask.lab.demo_data import SHORT_SIDE, DemoData, encode_small, prepare_images, split_names
from mmmask.lab.scores import find_hook
from mmmask.visualization import RIGHT, WRONG

ROOT = Path(__file__).resolve().parents[2]
QUICK = ['train_cfg.max_epochs=2', 'param_scheduler.warmup_epochs=0']


@pytest.fixture
def textures(tmp_path):
    """40 pieces of each of three photographed textures, in a folder per texture."""
    random = np.random.default_rng(0)
    for name in ('brick', 'grass', 'gravel'):
        folder = tmp_path / 'textures' / name
        folder.mkdir(parents=True)
        photograph = getattr(skimage.data, name)()
        for number in range(40):
            y, x = random.integers(0, 512 - 64, 2)
            Image.fromarray(photograph[y : y + 64, x : x + 64]).save(folder / f'{number}.png')
    return tmp_path / 'textures'


class TestSplitNames:
    def split(self, names):
        parts = split_names(names, np.random.default_rng(0))
        return {part: [(names[i], label) for i, label in found] for part, found in parts.items()}

    def test_images_of_each_class_are_held_out(self):
        names = [f'{label}/{number}.jpg' for label in ('cat', 'dog') for number in range(10)]
        parts = self.split(names)
        assert sorted(name for part in parts.values() for name, _ in part) == sorted(names)
        for part, count in (('train', 8), ('val', 2)):
            assert [label for _, label in parts[part]] == ['cat'] * count + ['dog'] * count
            assert all(name.startswith(label) for name, label in parts[part])

    def test_given_train_and_val(self):
        names = ['train/cat/0.jpg', 'train/dog/1.jpg', 'val/dog/2.jpg', 'test/cat/3.jpg']
        assert self.split(names) == {
            'train': [('train/cat/0.jpg', 'cat'), ('train/dog/1.jpg', 'dog')],
            'val': [('val/dog/2.jpg', 'dog')],
        }

    @pytest.mark.parametrize(
        'names',
        [
            [f'{n}.jpg' for n in range(10)],
            [f'holiday/{n}.jpg' for n in range(10)],
            [f'holiday/{n}.jpg' for n in range(9)] + ['lone.jpg'],
        ],
        ids=['flat', 'one folder', 'an image beside the folders'],
    )
    def test_no_labels(self, names):
        parts = self.split(names)
        assert {label for part in parts.values() for _, label in part} == {''}
        assert len(parts['train']) == 8
        assert len(parts['val']) == 2

    def test_too_few_to_hold_out(self):
        parts = self.split(['cat/0.jpg', 'dog/1.jpg'])
        assert parts == {'train': [('cat/0.jpg', ''), ('dog/1.jpg', '')], 'val': []}

    def test_at_most_5000(self):
        parts = self.split([f'{number}.jpg' for number in range(20000)])
        assert len(parts['train']) == 4000
        assert len(parts['val']) == 1000
        assert not set(parts['train']) & set(parts['val'])


def test_encode_small():
    photograph = skimage.data.coffee()  # 400 x 600
    small = Image.open(io.BytesIO(encode_small(photograph[..., ::-1])))
    assert small.size == (SHORT_SIDE * 6 // 4, SHORT_SIDE)
    expected = Image.fromarray(photograph).resize(small.size, Image.BICUBIC)
    assert np.abs(np.asarray(small).astype(int) - np.asarray(expected)).mean() < 3
    assert Image.open(io.BytesIO(encode_small(photograph[:50, :90]))).size == (90, 50)


def test_prepare_images(textures, tmp_path):
    (textures / 'brick' / '0.png').write_bytes(b'')
    data = prepare_images(textures, tmp_path / 'new' / 'images.zip')
    assert data.classes == ['brick', 'grass', 'gravel']
    assert (data.num_train + data.num_val, data.num_found) == (119, 120)
    names = zipfile.ZipFile(data.archive).namelist()
    for part, total in (('train', 96), ('val', 24)):
        for label in data.classes:
            found = [name for name in names if name.startswith(f'{part}/{label}/')]
            assert len(found) in (
                (total // 3 - 1, total // 3) if label == 'brick' else (total // 3,)
            )


def test_the_photographs_of_the_demo(tmp_path):
    """They are split into the same parts for every seed of a training."""
    names = zipfile.ZipFile(PHOTOGRAPHS).namelist()
    counts = Counter(name.split('/')[0] for name in names)
    assert (len(names), counts['t-shirt'], counts['skirt']) == (3409, 876, 124)
    data = prepare_images(PHOTOGRAPHS, tmp_path / 'images.zip')
    assert (data.num_train, data.num_val, data.classes) == (2733, 676, sorted(counts))
    found = zipfile.ZipFile(data.archive).read('train/dress/000000.jpg')
    assert min(Image.open(io.BytesIO(found)).size) == 64


def test_config_fits_the_data(tmp_path):
    (tmp_path / 'images.zip').touch()
    data = DemoData(tmp_path / 'images.zip', 50, 12, 62, ['cat', 'dog'])
    cfg = Config.fromfile(write_config(data, tmp_path / 'config.py'))
    assert cfg.train_dataloader.batch_size == 50  # else an epoch would have no batch
    assert cfg.train_cfg.max_epochs == 200
    assert cfg.train_dataloader.dataset.prefix == 'train'
    knn = find_hook(cfg, 'mmmask.OnlineKNNHook')
    assert knn.k == 20
    assert knn.query == {
        **knn.bank,
        'prefix': 'val',
        'metainfo': {'classes': ['cat', 'dog']},
        'with_label': True,
    }
    load_config(tmp_path / 'config.py')  # every key is known, every value allowed

    unlabelled = DemoData(tmp_path / 'images.zip', 8000, 0, 8000, [])
    cfg = Config.fromfile(write_config(unlabelled, tmp_path / 'config.py'))
    assert cfg.train_dataloader.batch_size == 64
    assert cfg.train_cfg.max_epochs == Config.fromfile(CONFIG).train_cfg.max_epochs // 2
    hooks = {hook.type: hook for hook in cfg.custom_hooks}
    assert set(hooks) == {'mmmask.NonFiniteLossHook', 'mmmask.ReconstructionHook'}
    assert hooks['mmmask.ReconstructionHook'].dataset.prefix == 'train'
    load_config(tmp_path / 'config.py')


def test_sparkline():
    assert sparkline([8.0, 4.0, 1.0]) == '█▄▁'
    assert sparkline([2.0]) == '▁'
    assert len(sparkline(list(range(1000)))) == 40


def test_labelled_folder(textures, tmp_path, capsys):
    scores = run_demo(str(textures), str(tmp_path / 'work'), options=QUICK)
    printed = capsys.readouterr().out
    assert '96 images to train and 24 held out, 3 classes from folder names' in printed
    assert 'knn_top1' in printed
    for row in scores.values():
        assert all(0 <= value <= 100 for value in row.values())
        assert f'{row["k-NN"]:.1f} ' in printed
        assert f'{row["linear probe"]:.1f} ' in printed
        assert f'{row["five labels"]:.1f} ' in printed
    # Chance is 33.3; even a random backbone separates textures.
    assert scores['random backbone']['linear probe'] > 60
    picture = np.asarray(Image.open(tmp_path / 'work' / 'reconstruction.png'))
    assert picture.shape[1] > 2000
    neighbours = np.asarray(Image.open(tmp_path / 'work' / 'neighbours.png')).reshape(-1, 3)
    frames = [(neighbours == color).all(axis=1).sum() for color in (RIGHT, WRONG)]
    assert min(frames) > 1000  # of 48 neighbours, some are of the class and some are not
    tensors = torch.load(tmp_path / 'work' / 'epoch_2.pth', weights_only=False)['state_dict']
    model = build_model(Config.fromfile(CONFIG), tmp_path / 'work' / 'epoch_2.pth')
    assert torch.equal(model.backbone.cls_token, tensors['backbone.cls_token'])


def test_command_line_without_labels(textures, tmp_path):
    command = [sys.executable, ROOT / 'tools' / 'demo.py', '--work-dir', tmp_path / 'work']
    run = subprocess.run(
        [*command, '--data', textures / 'brick', '--cfg-options', *QUICK],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert 'no labels' in run.stdout
    assert 'No accuracy is measured' in run.stdout
    assert 'Top-1' not in run.stdout
    assert (tmp_path / 'work' / 'reconstruction.png').stat().st_size > 100_000


@pytest.mark.parametrize('name', ['images.zip', 'reconstruction.png', 'neighbours.png'])
def test_files_of_the_user_are_kept(textures, tmp_path, name):
    """The archive of small copies must not replace the archive that they are made of."""
    own = tmp_path / name
    with zipfile.ZipFile(own, 'w') as archive:
        archive.write(textures / 'brick/0.png', 'brick/0.png')
    before = own.read_bytes()
    source = own if name == 'images.zip' else textures
    with pytest.raises(FileExistsError, match=f'{name} exists and was not written by mmmask'):
        run_demo(str(source), str(tmp_path))
    assert own.read_bytes() == before
    assert not list(tmp_path.glob('.unfinished*'))


def test_missing_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match='none.*does not exist'):
        run_demo(str(tmp_path / 'none'), str(tmp_path / 'work'))
    assert not (tmp_path / 'work').exists()

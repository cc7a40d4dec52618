"""Pictures of the last checkpoint in a report."""

import shutil

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image
from test_report import ROOT, Page, write_run

from mmmask.apis import visualize_features
from mmmask.apis.visualize import build_model
from mmmask.feature_pictures import describe, draw_pairs
from mmmask.report import write_report


@pytest.fixture
def folder(tmp_path):
    """Five images in each of two folders."""
    for number in range(10):
        path = tmp_path / 'images' / str(number % 2) / f'{number}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(number).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((70, 64), Image.BICUBIC).save(path)
    return tmp_path / 'images'


def trained(folder, config):
    """A run whose config and checkpoint are those of a demo."""
    write_run(folder)
    cfg = Config.fromfile(ROOT / 'configs/demo' / config)
    cfg.dump(folder / '20260131_235959' / 'vis_data' / 'config.py')
    torch.save(dict(state_dict=build_model(cfg, seed=1).state_dict()), folder / 'epoch_4.pth')
    return folder


def drawn(page):
    """The titles of the pictures that the report drew itself."""
    titles = [image['alt'].split(', epoch_4')[0] for image in page.all('img')]
    return [title for title in titles if not title.startswith('reconstruction')]


@pytest.mark.parametrize('error', [KeyError('x'), AssertionError('x'), ValueError("'x'")])
def test_an_error_costs_one_picture(folder, tmp_path, monkeypatch, error):
    def fail(*args):
        raise error

    monkeypatch.setattr(visualize_features, 'draw_embedding', fail)
    run = trained(tmp_path / 'vit', 'mae_vit-tiny_digits.py')
    page = Page(write_report([run], tmp_path / 'x.html', pictures=True, images=[folder]))
    assert drawn(page)[-2:] == ['nearest neighbours', 'most similar pairs of images']
    reason = "'x'" if isinstance(error, ValueError) else repr(error)
    assert f'There is no picture of t-SNE of the features: {reason}' in page.text


def test_images_are_described_once(folder, tmp_path, monkeypatch):
    calls = []

    def count(model, dataset):
        calls.append(len(dataset))
        return describe(model, dataset)

    monkeypatch.setattr(visualize_features, 'describe', count)
    monkeypatch.setattr(visualize_features, 'MAX_IMAGES', 7)
    run = trained(tmp_path / 'vit', 'mae_vit-tiny_digits.py')
    page = Page(write_report([run], tmp_path / 'x.html', pictures=True, images=[folder]))
    assert calls == [7] and {'nearest neighbours', 't-SNE of the features'} < {*drawn(page)}


def test_a_planted_duplicate_is_shown(folder, tmp_path, monkeypatch):
    shutil.copy(folder / '0/4.png', folder / '1/copy.png')
    shown = []

    def remember(pairs, caption):
        shown.extend((pairs, caption))
        return draw_pairs(pairs, caption)

    monkeypatch.setattr(visualize_features, 'draw_pairs', remember)
    run = trained(tmp_path / 'vit', 'mae_vit-tiny_digits.py')
    write_report([run], tmp_path / 'x.html', pictures=True, images=[folder])
    (similarity, *images), *_ = shown[0]
    assert similarity > 0.9999
    assert [name for name, _ in images] == [str(folder / '0/4.png'), str(folder / '1/copy.png')]
    assert shown[1].startswith('The most similar of 11 images. ')


def test_pictures_of_the_last_checkpoint(folder, tmp_path):
    runs = [
        trained(tmp_path / 'vit', 'mae_vit-tiny_digits.py'),
        trained(tmp_path / 'resnet', 'spark_resnet-tiny_digits.py'),
        write_run(tmp_path / 'other'),  # its checkpoint is no checkpoint
    ]
    page = Page(write_report(runs, tmp_path / 'x.html', pictures=True, images=[folder]))
    of_any = ['masks', 'loss at each hidden position', 'principal components of the patch features']
    of_any2 = ['nearest neighbours', 't-SNE of the features', 'most similar pairs of images']
    assert drawn(page) == [*of_any, 'attention of the class token', *of_any2, *of_any, *of_any2]
    assert 'There is no picture of attention of the class token: heat_map' in page.text
    assert page.text.count('No pictures were drawn: ') == 1
    with pytest.raises(FileNotFoundError, match='none does not exist: give a folder'):
        write_report(runs[:1], tmp_path / 'x.html', pictures=True, images=[tmp_path / 'none'])

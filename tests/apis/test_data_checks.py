"""Data of mmdet and mmseg that do not fit the config end in a sentence before loaders are built."""

import json

import numpy as np
import pytest
from conftest import ROOT
from mmengine.config import Config
from PIL import Image

from mmmask.apis.data_checks import check_data

NUCLEI = ROOT / 'configs/downstream/nuclei'


def boxes(folder, classes, names=('ant', 'bee', 'cow'), mask=True):
    """A config of Mask R-CNN and its data."""
    (folder / 'train').mkdir(exist_ok=True)
    one = dict(id=1, image_id=1, category_id=1, bbox=[0, 0, 4, 4], area=16, iscrowd=0)
    one |= dict(segmentation=[[0, 0, 4, 0, 4, 4]]) if mask else {}
    content = dict(
        images=[dict(id=1, file_name='a.png', height=8, width=8)],
        categories=[dict(id=i, name=name) for i, name in enumerate(names, 1)],
        annotations=[one],
    )
    (folder / 'train.json').write_text(json.dumps(content))
    cfg = Config.fromfile(NUCLEI / 'mask-rcnn_vit-tiny-p8_1xb4-400i_nuclei.py')
    cfg.train_dataloader.dataset.update(data_root=str(folder), metainfo=dict(classes=classes))
    for split in ('val', 'test'):
        cfg.pop(f'{split}_dataloader')
    return cfg


@pytest.mark.parametrize(
    ('arguments', 'sentence'),
    [
        (dict(classes=('ant', 'bee')), r"1 categories .* the 2 classes of the run, such as 'cow'.*"
         r"metainfo.classes must name them: \['ant', 'bee', 'cow'\]"),
        (dict(classes=('Ant', 'bee', 'cow')), "'ant' and 'Ant' differ in case: spell them alike"),
        (dict(classes=('ant', 'bee', 'cow'), mask=False),
         '1 of 1 annotations in .* are boxes without masks, and the pipeline has with_mask=True'),
    ],
)  # fmt: skip
def test_annotation_files_fit_the_classes_and_the_network(arguments, sentence, tmp_path):
    check_data(boxes(tmp_path, ('ant', 'bee', 'cow')))
    with pytest.raises(ValueError, match=sentence):
        check_data(boxes(tmp_path, **arguments))


def test_missing_files_are_named(tmp_path):
    cfg = boxes(tmp_path, ('ant', 'bee', 'cow'))
    cfg.train_dataloader.dataset.update(ann_file='b.json', data_prefix=dict(img='nowhere/'))
    with pytest.raises(ValueError, match=r'nowhere is not a folder(.|\n)*b.json does not exist'):
        check_data(cfg)


def maps(folder, label, ending='.png'):
    """A config of UPerNet for two classes, and its data."""
    for name in ('train', 'maps/train'):
        (folder / name).mkdir(parents=True, exist_ok=True)
    Image.new('RGB', (8, 8)).save(folder / 'train' / f'a{ending}', 'PNG')
    Image.fromarray(label).save(folder / 'maps/train/a.png')
    cfg = Config.fromfile(NUCLEI / 'upernet_vit-tiny-p8_1xb4-400i_nuclei.py')
    cfg.train_dataloader.dataset.data_root = str(folder)
    for split in ('val', 'test'):
        cfg.pop(f'{split}_dataloader')
    return cfg


SQUARE = np.pad(np.ones((4, 4), np.uint8), 2)


@pytest.mark.parametrize(
    ('label', 'ending', 'sentence'),
    [
        (SQUARE, '.PNG', r"img_suffix='.png' fits no file .*1 in '.PNG': set img_suffix='.PNG'"),
        (255 * SQUARE, '.png', "only 0 and 255, and 255 is ignored, so only 'background'"),
        (np.dstack([SQUARE] * 4), '.png', r'a.png has 4 channels, and mmseg.LoadAnnotations reads'),
    ],
)
def test_label_maps_hold_class_numbers(label, ending, sentence, tmp_path):
    check_data(maps(tmp_path / 'good', SQUARE))
    with pytest.raises(ValueError, match=sentence):
        check_data(maps(tmp_path / 'bad', label, ending))


def test_an_image_without_a_label_map_is_named(tmp_path):
    cfg = maps(tmp_path, SQUARE)
    Image.new('RGB', (8, 8)).save(tmp_path / 'train/b.png')
    with pytest.raises(ValueError, match=r"lacks 1 of 2 label maps, such as 'b.png'"):
        check_data(cfg)
    cfg.train_dataloader.dataset.data_prefix.img_path = 'nowhere'
    with pytest.raises(ValueError, match='nowhere is not a folder'):
        check_data(cfg)

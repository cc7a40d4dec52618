"""Data of mmdet and mmseg that do not fit the config end in a sentence before loaders are built."""

import json

import mmdet.datasets
import numpy as np
import pytest
from conftest import ROOT
from mmengine.config import Config
from PIL import Image

from mmmask.apis.data_checks import check_data

NUCLEI = ROOT / 'configs/downstream/nuclei'


def boxes(folder, classes=('ant', 'bee', 'cow'), names=('ant', 'bee', 'cow'), mask=True, **changes):
    """A config of Mask R-CNN and its data, whose annotation has these changes."""
    (folder / 'train').mkdir(exist_ok=True)
    Image.new('RGB', (8, 8)).save(folder / 'train/a.png')
    one = dict(id=1, image_id=1, category_id=1, bbox=[0, 0, 4, 4], area=16, iscrowd=0)
    one |= dict(segmentation=[[0, 0, 4, 0, 4, 4]]) if mask else {}
    one = {key: value for key, value in (one | changes).items() if value is not None}
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
    check_data(boxes(tmp_path))
    with pytest.raises(ValueError, match=sentence):
        check_data(boxes(tmp_path, **arguments))


@pytest.mark.parametrize(
    ('changes', 'sentence'),
    [
        (dict(bbox=[0, 0, 4]), r"annotation 1: 'bbox' is \[0, 0, 4\]: write \[x, y, width"),
        (dict(bbox=[0, 0, 4, '4']), r"annotation 1: 'bbox' is \[0, 0, 4, '4'\]"),
        (dict(category_id=9), "no category has the 'category_id' 9: add the category or remove"),
        (dict(image_id='1'), "no image has the 'image_id' '1': write it as in that entry, 1"),
        (dict(area=None), "annotation 1: 'area' is None: add the pixels that the object covers"),
    ],
)  # fmt: skip
def test_annotations_that_mmdet_drops_or_fails_on(changes, sentence, tmp_path):
    with pytest.raises(ValueError, match=sentence):
        check_data(boxes(tmp_path, **changes))


def test_annotations_of_coco_pass(tmp_path):
    """Crowds have run lengths, and some boxes are flat."""
    check_data(boxes(tmp_path, iscrowd=1, segmentation=dict(size=[8, 8], counts=[0, 64])))
    check_data(boxes(tmp_path, bbox=[0.5, 0, 4.25, 0], area=0.0))


def test_a_missing_image_is_named_if_it_would_be_read(tmp_path):
    cfg = boxes(tmp_path)
    file = tmp_path / 'train.json'
    content = json.loads(file.read_text())
    content['images'].append(dict(id=2, file_name='b/c.png', height=8, width=8))
    file.write_text(json.dumps(content))
    cfg.train_dataloader.dataset.filter_cfg = dict(filter_empty_gt=True)
    check_data(cfg)  # the second image has no objects
    cfg.train_dataloader.dataset.pop('filter_cfg')
    with pytest.raises(ValueError, match=r"img: 1 of 2 images .*such as '.*train/b/c.png': give"):
        check_data(cfg)
    (tmp_path / 'train/b').mkdir()
    (tmp_path / 'train/b/c.png').touch()
    check_data(cfg)


def test_data_sets_that_read_files_in_their_own_way_pass(tmp_path):
    """mmdet names the images of Objects365 anew, and panoptic annotations have no boxes."""

    class CocoDataset(mmdet.datasets.CocoDataset):
        def parse_data_info(self, raw_data_info):
            return raw_data_info

    cfg = boxes(tmp_path, mask=False, bbox=None, segments_info=[dict(id=1, category_id=1)])
    (tmp_path / 'train/a.png').unlink()
    for kind in ('Objects365V2Dataset', 'CocoPanopticDataset', CocoDataset):
        cfg.train_dataloader.dataset.type = kind
        check_data(cfg)


def test_missing_files_are_named(tmp_path):
    cfg = boxes(tmp_path)
    cfg.train_dataloader.dataset.update(ann_file='b.json', data_prefix=dict(img='nowhere/'))
    with pytest.raises(ValueError, match=r'nowhere is not a folder(.|\n)*b.json does not exist'):
        check_data(cfg)


def pascal(folder, *names):
    """A config with a data set of Pascal VOC inside of two others, and its data."""
    (folder / 'Annotations').mkdir(exist_ok=True)
    objects = ''.join(f'<object><name>{name}</name></object>' for name in names)
    (folder / 'Annotations/a.xml').write_text(f'<annotation>{objects}</annotation>')
    (folder / 'train.txt').write_text('a\n')
    voc = dict(
        type='VOCDataset',
        data_root=str(folder),
        ann_file='train.txt',
        data_prefix=dict(sub_data_root=''),
    )
    repeated = dict(
        type='RepeatDataset', times=2, dataset=dict(type='ConcatDataset', datasets=[voc])
    )
    return Config(dict(default_scope='mmdet', train_dataloader=dict(dataset=repeated)))


@pytest.mark.parametrize(
    ('names', 'sentence'),
    [
        (('Dog', 'person'), "such as 'Dog', and .*: 'Dog' and 'dog' differ in case"),
        (('ant', 'bee'), r"2 categories .* the 20 classes .* must name them: \['ant', 'bee'\]"),
    ],
)
def test_objects_of_pascal_voc_have_classes_of_the_config(names, sentence, tmp_path):
    for good in ((), ('dog', 'person'), ('dog', 'left out on purpose')):
        check_data(pascal(tmp_path, *good))
    with pytest.raises(ValueError, match=sentence):
        check_data(pascal(tmp_path, *names))


def test_missing_files_of_pascal_voc_are_named(tmp_path):
    cfg = pascal(tmp_path)
    (tmp_path / 'train.txt').write_text('a\nb\n')
    with pytest.raises(ValueError, match=r'b.xml cannot be read .*: correct it or .*train.txt'):
        check_data(cfg)
    (tmp_path / 'train.txt').unlink()
    with pytest.raises(ValueError, match='train.txt does not exist: give a list'):
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

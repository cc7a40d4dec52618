"""A rehearsal of one config of every folder, on a few images in the places that the configs name.

Networks are an eighth as wide. Images of detectors and segmentors have a quarter of the side.
``python tests/apis/test_rehearsal_of_families.py`` prints the CPU time of each.
"""

import itertools
import json
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
from mmdet.datasets import CityscapesDataset, CocoDataset
from mmengine.config import Config
from mmengine.registry import DefaultScope
from PIL import Image

from mmmask.apis.own_data import name_data
from mmmask.apis.rehearsal import RehearsalEnd, RehearsalHook
from mmmask.apis.train import build_runner, load_config, rehearse
from mmmask.lab.digits_on_photographs import make_digits_on_photographs

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
FOLDER = '24 images, 224 x 224 px, 3 channels'
CLASSES = '24 images, 3 classes, 224 x 224 px, 3 channels'
SMALL = '24 images, 64 x 64 px, 3 channels'
DIGITS = '4,000 images, 10 classes, 64 x 64 px, 3 channels'
NUCLEI = ['data/nuclei/train', 'data/nuclei/train.json']
# What the table must say about the first loader, by the config.
FAMILIES = {
    'channels/mae_vit-small-p16_1xb128-amp-coslr-300e_grey16': '36 images, 224 x 224 px, 1 ch',
    'cmae/cmae-huang_vit-base-p16_8xb512-amp-coslr-300e_in1k': FOLDER,
    'cmae/cmae-mao_vit-base-p8_1xb64-amp-coslr-300e_tiny-imagenet-64px': SMALL,
    'crossmae/crossmae_vit-base-p16_8xb512-amp-coslr-800e_in1k': FOLDER,
    'data2vec2/data2vec2_vit-base-p16_8xb32-amp-coslr-75e_in1k': FOLDER,
    'demo/simmim_swin-tiny_digits': DIGITS,
    'demo/ladder/maskdeep-m1_resnet-18_tiny-imagenet': '24 images, 3 classes, 64 x 64 px',
    'evolved/ehm_vit-base-p16_8xb512-amp-coslr-300e_in1k': FOLDER,
    'features/features-clip_vit-base-p16_8xb256-amp-coslr-300e_in1k': FOLDER,
    'ijepa/ijepa_vit-base-p16_8xb256-amp-coslr-600e_in1k': FOLDER,
    'localmim/localmim_vit-base-p16_8xb256-amp-coslr-100e_in1k': FOLDER,
    'localmim/localmim_swin-base-hog_8xb256-amp-coslr-100e_in1k': FOLDER,
    'mae/mae_vit-base-p16_8xb512-amp-coslr-300e_in1k': FOLDER,
    'maskdeep/maskdeep_resnet-50_16xb256-amp-coslr-100e_in1k': FOLDER,
    'simmim/simmim_swin-base_16xb128-amp-coslr-100e_in1k-192px': '24 images, 192 x 192 px, 3 ',
    'spark/fcmae_convnext-base_8xb512-amp-coslr-800e_in1k': FOLDER,
    'spark/spark_resnet-50_8xb512-amp-coslr-1600e_in1k': FOLDER,
    'downstream/ade20k/upernet_swin-base-w7_8xb2-160k_ade20k-512x512': '4 images, 150 classes, ',
    'downstream/channels/vit-small-p16_knn': '12 images, 3 classes, 224 x 224 px, 1 channels',
    'downstream/cityscapes/mask-rcnn_r50_fpn_8xb1-ms-24k_cityscapes': '4 images, 8 classes, ',
    'downstream/cityscapes/upernet_r50_8xb1-80k_cityscapes-512x1024': '4 images, 19 classes, ',
    'downstream/coco/mask-rcnn_vit-base-p16_8xb8-amp-lsj-25e_coco': '4 images, 80 classes, ',
    'downstream/digits_on_photographs/upernet_swin-tiny-p2_1xb4-400i_digits-on-photographs': '4 im',
    'downstream/fine_grained/vit-base-p16_8xb32-amp-coslr-100e_cub200-224px': '8 images, 200 class',
    'downstream/folder/classification': CLASSES,
    'downstream/folder/detection': '3 images, 1 classes, ',
    'downstream/folder/segmentation': '3 images, 2 classes, ',
    'downstream/imagenet/vit-base-p16_finetune_8xb128-amp-coslr-100e_in1k': CLASSES,
    'downstream/nuclei/mask-rcnn_vit-tiny-p8_1xb4-400i_nuclei': '4 images, 1 classes, ',
    'downstream/retrieval/vit-tiny-p8_classes-64px': '24 images, 3 classes, 64 x 64 px, 3',
    'downstream/tiny_imagenet/vit-tiny-p8_probe_tiny-imagenet-64px': '12 images, 3 classes, 64 x',
    'downstream/voc0712/faster-rcnn_r50-c4_8xb2-ms-24k_voc0712': '8 images, 20 classes, ',
    'downstream/voc12aug/upernet_vit-base-p16_mae_8xb2-amp-20k_voc12aug-512x512': '8 images, 21 c',
}  # fmt: skip
# ``--data`` of configs that need it. Without a checkpoint, the network of own data is a ResNet-50.
DATA = {
    'demo/ladder/maskdeep-m1_resnet-18_tiny-imagenet': ['data/tiny-imagenet.zip'],
    'downstream/folder/classification': ['data/imagenet'],
    'downstream/folder/detection': NUCLEI,
    'downstream/folder/segmentation': ['data/nuclei/train', 'data/nuclei/maps/train'],
}

# Images

SIDE = 128
BOX = [30, 20, 40, 50]  # left, top, width and height of the object in each photograph
RANDOM = np.random.default_rng(0)


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def photograph(side: int = SIDE) -> np.ndarray:
    return RANDOM.integers(0, 256, (side, side, 3), dtype=np.uint8)


def make_data() -> None:
    """A few images of each data set, in the folder ``data``."""
    make_classes()
    make_birds()
    make_digits_on_photographs('data/digits-on-photographs', 4, 2, 64, 0)
    for part, count in (('train', 4), ('val', 2)):
        make_objects(part, count)
    for year, part, count in ((2007, 'trainval', 4), (2012, 'trainval', 4), (2007, 'test', 2)):
        make_voc(year, part, count)
    for part, count in (('train', 4), ('aug', 4), ('val', 2)):
        make_voc_segmentation(part, count)


def make_classes() -> None:
    for (part, count), name in itertools.product((('train', 8), ('val', 4)), 'abc'):
        for index in range(count):
            image, grey = photograph(), RANDOM.integers(0, 4096, (SIDE, SIDE), dtype=np.uint16)
            for place, shown in (
                ('imagenet', image), ('images', image), ('tiny-imagenet.zip', image[:64, :64])
            ):  # fmt: skip
                save(Path(f'data/{place}/{part}/{name}/{index}.png'), shown)
            save(Path(f'grey/{part}/{name}/{index}.png'), grey)


def make_birds() -> None:
    root, names = Path('data/CUB_200_2011'), [f'bird/{index}.jpg' for index in range(12)]
    for name in names:
        save(root / 'images' / name, photograph(300))
    for file, values in (
        ('images', names),
        ('image_class_labels', range(1, 13)),
        ('train_test_split', [int(index < 8) for index in range(12)]),
    ):
        write_lines(root / f'{file}.txt', (f'{n} {value}' for n, value in enumerate(values, 1)))


def write_lines(path: Path, lines) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(''.join(f'{line}\n' for line in lines))


def save_pair(image: str, label: str) -> None:
    """A photograph, and a label map with an object of class 1."""
    codes = np.zeros((SIDE, SIDE), np.uint8)
    left, top, width, height = BOX
    codes[top : top + height, left : left + width] = 1
    save(Path(image), photograph())
    save(Path(label), codes)


def make_objects(part: str, count: int) -> None:
    """COCO, Cityscapes, ADE20K and nuclei."""
    ade, town = 'data/ade/ADEChallengeData2016', 'leftImg8bit/{0}/town/{1}_leftImg8bit.png'
    for n in range(count):
        whole = {'train': 'training', 'val': 'validation'}[part]
        save_pair(f'{ade}/images/{whole}/{n}.jpg', f'{ade}/annotations/{whole}/{n}.png')
        save_pair('data/cityscapes/' + town.format(part, n),
                  f'data/cityscapes/gtFine/{part}/town/{n}_gtFine_labelTrainIds.png')  # fmt: skip
        save_pair(f'data/nuclei/{part}/{n}.png', f'data/nuclei/maps/{part}/{n}.png')
        save(Path(f'data/coco/{part}2017/{n}.jpg'), photograph())
    for file, name, classes in (
        (f'coco/annotations/instances_{part}2017', '{1}.jpg', CocoDataset.METAINFO['classes']),
        (f'cityscapes/annotations/instancesonly_filtered_gtFine_{part}',
         'town/{1}_leftImg8bit.png', CityscapesDataset.METAINFO['classes']),
        (f'nuclei/{part}', '{1}.png', ['nucleus']),
    ):  # fmt: skip
        names = [name.format(part, n) for n in range(count)]
        write_lines(Path(f'data/{file}.json'), [json.dumps(coco(names, classes))])


def coco(names: list[str], classes) -> dict:
    left, top, width, height = BOX
    right, bottom = left + width, top + height
    polygon = [left, top, right, top, right, bottom, left, bottom]
    size = dict(height=SIDE, width=SIDE)
    mask = dict(bbox=BOX, area=width * height, segmentation=[polygon], iscrowd=0, category_id=1)
    return dict(
        images=[dict(size, id=n, file_name=name) for n, name in enumerate(names)],
        annotations=[dict(mask, id=n + 1, image_id=n) for n, _ in enumerate(names)],
        categories=[dict(id=n, name=name) for n, name in enumerate(classes, 1)],
    )


def make_voc(year: int, part: str, count: int) -> None:
    root, names = Path(f'data/VOCdevkit/VOC{year}'), [f'{year}_{part}_{n}' for n in range(count)]
    left, top, width, height = BOX
    edges = dict(xmin=left, ymin=top, xmax=left + width, ymax=top + height)
    box = ''.join(f'<{edge}>{value}</{edge}>' for edge, value in edges.items())
    size = f'<size><width>{SIDE}</width><height>{SIDE}</height><depth>3</depth></size>'
    thing = f'<object><name>dog</name><difficult>0</difficult><bndbox>{box}</bndbox></object>'
    for name in names:
        save(root / f'JPEGImages/{name}.jpg', photograph())
        write_lines(root / f'Annotations/{name}.xml', [f'<annotation>{size}{thing}</annotation>'])
    write_lines(root / f'ImageSets/Main/{part}.txt', names)


def make_voc_segmentation(part: str, count: int) -> None:
    root, names = 'data/VOCdevkit/VOC2012', [f'{part}_{n}' for n in range(count)]
    folder = 'SegmentationClassAug' if part == 'aug' else 'SegmentationClass'
    for name in names:
        save_pair(f'{root}/JPEGImages/{name}.jpg', f'{root}/{folder}/{name}.png')
    write_lines(Path(f'{root}/ImageSets/Segmentation/{part}.txt'), names)


# Networks

WIDTHS = {
    'in_channels', 'out_channels', 'embed_dims', 'embed_dim', 'hid_channels', 'hidden_channels',
    'channels', 'feat_channels', 'conv_out_channels', 'fc_out_channels', 'feedforward_channels',
}  # fmt: skip
SIZES = {'scale', 'scales', 'crop_size', 'size', 'img_size', 'stride', 'pad_size_divisor'}
VIT = dict(num_layers=12, num_heads=12, embed_dims=96, feedforward_channels=192)
RESNET = dict(base_channels=8, stem_channels=8)
# What makes a backbone an eighth as wide, masked or not.
NETWORKS = {
    ('VisionTransformer', 'base'): dict(arch=VIT),
    ('VisionTransformer', 'deit-small'): dict(arch=dict(VIT, num_heads=6, embed_dims=48)),
    ('WindowVisionTransformer', 'base'): dict(arch=dict(VIT, global_attn_indexes=[2, 5, 8, 11])),
    ('SwinTransformer', 'base'): dict(
        arch=dict(embed_dims=16, depths=[2, 2, 2, 2], num_heads=[1, 2, 4, 8])
    ),
    ('ConvNeXt', 'base'): dict(arch=dict(depths=[1, 1, 2, 1], channels=[16, 32, 64, 128])),
    ('ResNet', '50'): RESNET,
    ('ResNet_CIFAR', '18'): RESNET,
}
# Widths that configs leave to a default, of 256.
DEFAULTS = {'mmmask.ScaleDecoder': 'embed_dims', 'mmmask.SimpleFeaturePyramid': 'out_channels'}


def walk(value, path='') -> Iterator[tuple[str, str, object]]:
    """Dotted path, key and value of all that dicts hold."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        place = f'{path}.{key}' if path else str(key)
        if isinstance(value, dict):
            yield place, key, item
        if isinstance(item, dict | list | tuple):
            yield from walk(item, place)


def divided(value, by: int):
    """Whole numbers of 64 and more, divided; also those in tuples and lists."""
    if isinstance(value, list | tuple):
        return type(value)(divided(one, by) for one in value)
    return value // by if isinstance(value, int) and value >= 64 else value


def shrink(cfg: Config, is_own: bool) -> dict:
    """The options that make a config small."""
    options, backbone = {'visualizer.vis_backends': []}, cfg.model.backbone
    kind = backbone.type.rpartition('.')[-1].removeprefix('Masked')
    size = str(backbone.get('arch', backbone.get('depth')))
    is_tiny = re.search('(vit|swin|resnet)-tiny', cfg.filename)
    is_whole = is_tiny or '_r50-c4_' in cfg.filename  # its head has the width of a whole ResNet-50
    for key, value in {} if is_whole else NETWORKS.get((kind, size), {}).items():
        value = dict(value, _delete_=True) if isinstance(value, dict) else value
        options[f'model.backbone.{key}'] = value
    for path, key, value in () if is_whole else walk(cfg.model.to_dict(), 'model'):
        if key == 'type' and value in DEFAULTS:
            options[path.removesuffix('type') + DEFAULTS[value]] = 32
        if key in WIDTHS and not re.match(r'model\.backbone\.arch|model\.data_pre', path):
            options[path] = divided(value, 8)
    if cfg.model.get('roi_head'):
        for key in ('train_cfg.rcnn.sampler.num', 'train_cfg.rpn_proposal.max_per_img',
                    'test_cfg.rpn.max_per_img'):  # fmt: skip
            options[f'model.{key}'] = 16
    if cfg.get('default_scope') in ('mmdet', 'mmseg') and not is_own and not is_tiny:
        for path, key, value in walk(cfg.to_dict()):
            if key in SIZES and value and not isinstance(value, str):
                options[path] = divided(value, 4)
    return options


def prepare(name: str) -> Config:
    """The config of a family with a small network, few workers and the images of ``data``."""
    folder = name.split('/')[-2]
    data = dict(channels='grey', retrieval='data/images').get(folder, 'data/imagenet')
    os.environ.update(NUM_CLASSES='3', DATA=data)
    path = CONFIGS / f'{name}.py'
    cfg = Config.fromfile(path)
    if 'own_data' in cfg:
        name_data(cfg, DATA[name], folder=Path('work/data'))
    options = shrink(cfg, name in DATA)
    for part in ('train', 'val', 'test'):
        if cfg.get(f'{part}_dataloader'):
            options[f'{part}_dataloader.num_workers'] = 0
    if cfg.get('train_dataloader'):
        options['train_dataloader.batch_size'] = 2
    if folder == 'tiny_imagenet':
        options |= {path: 3 for path, key, _ in walk(cfg.to_dict()) if key == 'num_classes'}
    if cfg.get('test_cfg') and cfg.test_cfg.get('k'):
        options['test_cfg.k'] = [5]
    if folder == 'features':  # the weights of CLIP would be downloaded
        target = dict(name='resnet18', layers=2, weights='random')
        options |= {f'model.target_generator.{key}': value for key, value in target.items()}
    return load_config(path, options=options, work_dir='work', amp='off', data=DATA.get(name))


def rehearse_family(name: str) -> str:
    """Rehearse the training or the test of a config, and return the table."""
    DefaultScope._instance_dict.clear()
    shown = StringIO()
    with redirect_stdout(shown):
        cfg = prepare(name)
        cfg.log_level, cfg.experiment_name = 'WARNING', name.replace('/', '-')
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
    assert [*Path().glob('work/*')] in ([], [Path('work/data')])


def test_every_folder_of_configs_is_rehearsed():
    folders = {path.parent for path in CONFIGS.rglob('*.py')}
    bases = {folder for folder in folders if '_base_' in folder.parts}
    assert {(CONFIGS / name).parent for name in FAMILIES} == folders - bases


def main() -> None:
    sys.stderr = StringIO()
    print('| config | CPU time |\n|---|---|')
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        with redirect_stdout(StringIO()):
            make_data()
        for name in FAMILIES:
            start = time.process_time()
            rehearse_family(name)
            print(f'| `{name}` | {time.process_time() - start:.1f} s |', flush=True)


if __name__ == '__main__':
    main()

"""Own images, boxes and label maps: from the command line to a trained network."""

import json

import numpy as np
import pytest
import torch
from conftest import ROOT, build_model, pack_images
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmseg.evaluation.metrics import iou_metric
from PIL import Image

from mmmask.apis.draw import DrawPredictionsHook
from mmmask.apis.own_data import name_data
from mmmask.apis.own_network import build_around, read_backbone
from mmmask.apis.train import load_config, rehearse, train
from mmmask.datasets import held_out
from mmmask.registry import DATASETS, MODELS

FOLDER = ROOT / 'configs/downstream/folder'
DETECTION, SEGMENTATION = FOLDER / 'detection.py', FOLDER / 'segmentation.py'
DEMOS = {
    'vit': 'demo/localmim_vit-tiny_digits.py',
    'swin': 'demo/localmim_swin-tiny_digits.py',
    'resnet': 'demo/ladder/maskdeep-m0_resnet-18_tiny-imagenet.py',
}
QUICK = {
    'train_dataloader.batch_size': 2, 'train_dataloader.num_workers': 0,
    'val_dataloader.num_workers': 0, 'log_level': 'WARNING', 'visualizer.vis_backends': [],
    'model.train_cfg.rpn_proposal.max_per_img': 8, 'model.test_cfg.rpn.max_per_img': 8,
}  # fmt: skip


@pytest.fixture(scope='module')
def checkpoints(tmp_path_factory):
    folder, paths = tmp_path_factory.mktemp('pretrained'), {}
    for name, config in DEMOS.items():
        cfg = Config.fromfile(ROOT / 'configs' / config)
        paths[name] = str(folder / f'{name}.pth')
        state = build_model(config).state_dict()
        torch.save(dict(state_dict=state, meta=dict(cfg=cfg.pretty_text)), paths[name])
    return paths


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """Ten images of 48 x 64 px: a bright square ('Cat') or a dark one ('dog')."""
    root = tmp_path_factory.mktemp('own')
    random = np.random.default_rng(0)
    for name in ('images', 'labels'):
        (root / name).mkdir()
    images, annotations = [], []
    for number in range(10):
        image = random.integers(100, 130, (48, 64, 3), dtype=np.uint8)
        label = np.zeros((48, 64), np.uint8)
        x, y, kind = *map(int, random.integers(2, 20, 2)), number % 2
        image[y : y + 20, x : x + 20] = 255 * (1 - kind)
        label[y : y + 20, x : x + 20] = kind + 1
        label[:2] = 255
        name = f'{number}.JPG'
        Image.fromarray(image).save(root / 'images' / name, 'JPEG')
        Image.fromarray(label).save(root / 'labels' / f'{number}.png')
        images.append(
            dict(id=f'i{number}', file_name=f'somewhere/else/{name}', height=48, width=64)
        )
        polygon = [x, y, x + 20, y, x + 20, y + 20, x, y + 20]
        annotations.append(
            dict(id=number, image_id=f'i{number}', category_id=7 + kind, bbox=[x, y, 20, 20],
                 segmentation=[polygon])
        )  # fmt: skip
    categories = [dict(id=8, name='dog'), dict(id=7, name='Cat')]
    content = dict(images=images, annotations=annotations, categories=categories)
    (root / 'masks.json').write_text(json.dumps(content))
    for one in annotations:
        del one['segmentation']
    (root / 'boxes.json').write_text(json.dumps(content))
    return root


def paths(data, *names):
    return [str(data / name) for name in names]


@pytest.mark.parametrize('kind', ['boxes', 'masks'])
def test_a_detector_of_own_classes_trains(kind, data, checkpoints, tmp_path, capsys):
    cfg = load_config(
        DETECTION,
        options=QUICK | {'experiment_name': f'own-{kind}', 'train_dataloader.batch_size': 8},
        work_dir=str(tmp_path),
        pretrained=checkpoints['vit'],
        data=paths(data, 'images', f'{kind}.json'),
        epochs=2,
    )
    assert cfg.model.type == ('mmdet.MaskRCNN' if kind == 'masks' else 'mmdet.FasterRCNN')
    runner = train(cfg)
    assert runner.iter == 2
    scores = runner.message_hub.log_scalars
    assert {'val/coco/bbox_mAP'} <= scores.keys()
    assert ('val/coco/segm_mAP' in scores) == (kind == 'masks')
    assert {'val/coco/Cat_precision', 'val/coco/dog_precision'} <= scores.keys()
    assert runner.val_loop.dataloader.dataset.metainfo['classes'] == ['dog', 'Cat']
    check_drawings(runner, tmp_path / 'worst')


def check_drawings(runner, folder):
    """Both held-out images are drawn, by falling badness."""
    hook = DrawPredictionsHook(folder)
    runner.register_hook(hook)
    runner.test()
    assert sorted(path.name for path in folder.iterdir()) == ['001.png', '002.png']
    qualities = [-quality for quality, _, _ in sorted(hook._worst, reverse=True)]
    assert qualities == sorted(qualities) and all(0 <= quality <= 1 for quality in qualities)
    with Image.open(folder / '001.png') as image:
        assert image.size == (2 * 256 + 4, 192 + 32)  # 64 x 48 px, four times as large
    with pytest.raises(FileExistsError, match='is not a new or empty folder'):
        DrawPredictionsHook(folder)


def test_a_segmentor_of_own_classes_trains(data, checkpoints, tmp_path, monkeypatch):
    lines = []
    monkeypatch.setattr(iou_metric, 'print_log', lambda text, logger: lines.append(text))
    cfg = load_config(
        SEGMENTATION,
        options=QUICK | {'experiment_name': 'own-maps', 'train_dataloader.batch_size': 4},
        work_dir=str(tmp_path),
        pretrained=checkpoints['vit'],
        data=paths(data, 'images', 'labels'),
        epochs=1,
    )
    assert cfg.model.decode_head.num_classes == cfg.model.auxiliary_head.num_classes == 3
    runner = train(cfg)
    assert runner.iter == 2
    assert 0 <= runner.message_hub.get_scalar('val/mIoU').current() <= 100
    table = next(text for text in lines if '| Class' in text or '|  Class' in text)
    rows = [line.split('|')[1].strip() for line in table.splitlines() if line.startswith('|')]
    assert rows == ['Class', *runner.val_loop.dataloader.dataset.metainfo['classes']]
    check_drawings(runner, tmp_path / 'worst')


# The network around a checkpoint

LARGE = {
    'vit-base': dict(type='VisionTransformer', arch='base', img_size=224, patch_size=16),
    'vit-p14': dict(
        type='VisionTransformer',
        arch='small',
        img_size=224,
        patch_size=14,
        layer_scale_init_value=1.0,
    ),  # fmt: skip
    'swin-base': dict(type='SwinTransformer', arch='base', img_size=224),
    'resnet-50': dict(type='ResNet', depth=50, img_size=224),
}


@pytest.mark.parametrize('name', [*DEMOS, *LARGE])
@pytest.mark.parametrize('task', ['detection', 'segmentation'])
def test_levels_have_the_strides_that_heads_are_told(name, task, checkpoints, on_meta):
    backbone = LARGE[name] if name in LARGE else read_backbone(checkpoints[name])
    cfg = Config.fromfile(DETECTION if task == 'detection' else SEGMENTATION)
    build_around(cfg, backbone, task, longest=600)
    size = backbone['img_size']
    side = min(608, 4 * size)
    assert cfg.val_dataloader.dataset.pipeline[1].scale == (side, side)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = on_meta(cfg.model)
    model.eval()
    with torch.device('meta'), torch.no_grad():
        maps = model.backbone(torch.zeros(1, 3, side, side))
        maps = model.neck(maps) if model.with_neck else maps
        if task == 'detection':
            strides = cfg.model.rpn_head.anchor_generator.strides
            sizes = [m.shape[-1] for m in maps]
            assert np.allclose(
                sizes, side / np.array(strides), rtol=0.02, atol=1
            )  # patches are padded
            assert {m.shape[1] for m in maps} == {cfg.model.rpn_head.in_channels}
            assert strides[0] in (3.5, 4) and len(strides) == 5
            model.rpn_head(maps)
        else:
            assert cfg.model.data_preprocessor.size == (2 * size, 2 * size)
            assert model.decode_head(maps).shape[1] == 150
            assert model.auxiliary_head(maps).shape[1] == 150


@pytest.mark.parametrize('name', [*DEMOS, 'swin-base', 'vit-base'])
def test_classifiers_take_image_size_and_width_from_the_checkpoint(name, checkpoints, on_meta):
    backbone = LARGE[name] if name in LARGE else read_backbone(checkpoints[name])
    cfg = Config.fromfile(FOLDER / 'classification.py')
    build_around(cfg, backbone, 'classification', None)
    size = backbone['img_size']
    assert cfg.train_dataloader.dataset.pipeline[0].scale == size
    assert [cfg.val_dataloader.dataset.pipeline[0].scale, cfg.val_dataloader.dataset.pipeline[
        1].crop_size] == [round(size * 8 / 7), size]  # fmt: skip
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = on_meta(cfg.model)
    model.eval()
    with torch.device('meta'), torch.no_grad():
        assert model(torch.zeros(2, 3, size, size), mode='tensor').shape == (2, 1000)


@pytest.mark.parametrize('name', DEMOS)
@pytest.mark.parametrize('task', ['knn', 'linear'])
def test_frozen_backbones_are_those_of_the_checkpoint(name, task, checkpoints, on_meta):
    cfg = Config.fromfile(FOLDER / f'{task}.py')
    name_data(cfg, None, pretrained=checkpoints[name])
    steps = cfg.test_dataloader.dataset.pipeline
    assert (steps[0].scale, steps[1].crop_size) == ((73, 64) if name != 'resnet' else (256, 224))
    saved = torch.load(checkpoints[name], weights_only=True)['state_dict']
    model = on_meta(cfg.model)
    shapes = {n: p.shape for n, p in model.state_dict().items() if n.startswith('backbone.')}
    new = {n for n in shapes if n not in saved or saved[n].shape != shapes[n]}
    assert new == ({'backbone.ln1.weight', 'backbone.ln1.bias'} if name == 'vit' else set())
    if task == 'linear':
        assert model.head.fc.weight.shape == (1000, 128)  # as wide as each backbone ends


# Files and classes


@pytest.fixture
def photographs(tmp_path):
    """Twenty images in two class folders."""
    for name in ('ant', 'bee'):
        (tmp_path / 'all' / name).mkdir(parents=True)
        for number in range(10):
            Image.new('RGB', (8, 8)).save(tmp_path / f'all/{name}/{number}.png')
    return tmp_path / 'all'


def named(config, *data, **options):
    cfg = Config.fromfile(ROOT / 'configs' / config)
    name_data(cfg, list(map(str, data)), **options)
    return cfg


def lengths(*datasets):
    return [len(DATASETS.build(dict(dataset, pipeline=[]))) for dataset in datasets]


def test_pre_training_and_its_hooks_get_the_folder(photographs):
    for config in ('demo/mae_vit-tiny_digits.py', DEMOS['resnet']):
        cfg = named(config, photographs)
        knn = next(hook for hook in cfg.custom_hooks if 'bank' in hook)
        assert lengths(cfg.train_dataloader.dataset, knn.bank, knn.query) == [16, 16, 4]
        assert knn.k == 16 and knn.query.metainfo.classes == ['ant', 'bee']
        assert 'indices' not in cfg.train_dataloader.dataset
        assert str(photographs) not in ('data/tiny-imagenet.zip', cfg.get('source'))
    (flat,) = [photographs / 'ant']
    cfg = named('demo/mae_vit-tiny_digits.py', flat)
    assert lengths(cfg.train_dataloader.dataset) == [10]
    assert [hook['type'] for hook in cfg.custom_hooks] == [
        'mmmask.NonFiniteLossHook', 'mmmask.ReconstructionHook'
    ]  # fmt: skip
    assert lengths(cfg.custom_hooks[1].dataset) == [10]


@pytest.mark.parametrize('kind', ['tars', 'tables'])
def test_shards_stand_in_for_a_folder(photographs, tmp_path, kind, capsys):
    shards = pack_images(photographs, tmp_path / 'shards', kind)
    cfg = named('demo/mae_vit-tiny_digits.py', shards)
    knn = next(hook for hook in cfg.custom_hooks if 'bank' in hook)
    assert lengths(cfg.train_dataloader.dataset, knn.bank, knn.query) == [16, 16, 4]
    assert knn.query.metainfo.classes == ['ant', 'bee']
    pattern = f'{shards}/train-{{0000..0001}}.{dict(tars="tar", tables="arrow")[kind]}'
    for source in (shards, pattern):
        options = {'train_dataloader.num_workers': 0, 'train_dataloader.batch_size': 4}
        config = ROOT / 'configs/demo/mae_vit-tiny_digits.py'
        work_dir = str(tmp_path / 'work')
        rehearse(load_config(config, options, work_dir=work_dir, data=[str(source)], epochs=1))
        assert '16 images, 2 classes, 64 x 64 px' in ' '.join(capsys.readouterr().out.split())
    with pytest.raises(FileNotFoundError, match='--data: .*0002.* does not exist'):
        named('demo/mae_vit-tiny_digits.py', pattern.replace('0001}', '0002}'))


def test_classifiers_get_folder_and_number_of_classes(photographs, tmp_path):
    cfg = named('downstream/folder/vit-base-p16_finetune.py', photographs)
    assert lengths(cfg.train_dataloader.dataset, cfg.val_dataloader.dataset) == [16, 4]
    assert cfg.model.head.num_classes == cfg.model.data_preprocessor.num_classes == 2
    assert cfg.val_evaluator.topk == (1,)
    (tmp_path / 'set').mkdir()
    for part in ('train', 'val'):
        (tmp_path / 'set' / part).symlink_to(photographs)
    cfg = named('downstream/folder/vit-base-p16_knn.py', tmp_path / 'set')
    assert (cfg.test_cfg.bank.prefix, cfg.test_dataloader.dataset.prefix) == ('train', 'val')
    cfg = named(
        'downstream/folder/vit-base-p16_finetune.py', photographs, val_data=[str(photographs)]
    )
    assert lengths(cfg.train_dataloader.dataset, cfg.val_dataloader.dataset) == [20, 20]
    with pytest.raises(ValueError, match='has no classes: put the images of each class'):
        named('downstream/folder/vit-base-p16_finetune.py', photographs / 'ant')


@pytest.mark.parametrize(
    'config', ['downstream/folder/classification.py', 'demo/mae_vit-tiny_digits.py']
)
def test_a_name_of_the_hub_stands_for_its_checkpoint(config, photographs, checkpoints, monkeypatch):
    monkeypatch.setattr('mmmask.checkpoints.hub._download', lambda *_: checkpoints['vit'])
    cfg = named(config, photographs, pretrained='timm/vit_of_the_demo')
    assert cfg.model.backbone.arch['embed_dims'] == 128


def test_files_of_the_detector(data, tmp_path):
    """Held-out images are those of the rule, ids are numbers, and a second run may replace it."""
    for _ in range(2):
        cfg = named('downstream/folder/detection.py', *paths(data, 'images', 'boxes.json'),
                    folder=tmp_path)  # fmt: skip
    train, val = (json.loads((tmp_path / f'{part}.json').read_text()) for part in ('train', 'val'))
    names = {f'{number}.JPG' for number in range(10)}
    assert {image['file_name'] for image in val['images']} == held_out(names)
    assert {image['file_name'] for image in train['images']} == names - held_out(names)
    assert [one['name'] for one in val['categories']] == ['dog', 'Cat']
    assert all(one['area'] == 400 and one['iscrowd'] == 0 for one in train['annotations'])
    assert cfg.model.roi_head.bbox_head.num_classes == 2
    assert 'own_data' not in cfg and 'mask_head' not in cfg.model.roi_head
    assert cfg.val_evaluator.classwise and cfg.val_evaluator.metric == ['bbox']
    (tmp_path / 'val.json').write_text('{}')
    with pytest.raises(FileExistsError, match=r'val\.json exists and was not written by mmmask'):
        named('downstream/folder/detection.py', *paths(data, 'images', 'boxes.json'),
              folder=tmp_path)  # fmt: skip


def changed(data, change):
    content = json.loads((data / 'masks.json').read_text())
    change(content)
    (data / 'changed.json').write_text(json.dumps(content))
    return paths(data, 'images', 'changed.json')


@pytest.mark.parametrize(
    ('change', 'sentence'),
    [
        (lambda c: c['annotations'][3].pop('segmentation'),
         "1 of 10 annotations have a box but no mask in 'segmentation', such as annotation 3"),
        (lambda c: c['images'][2].update(file_name='x.jpg'),
         "1 of 10 images are not in .*, such as 'x.jpg'"),
        (lambda c: c['images'][2].update(file_name='1.JPG'), "1 files belong to two images"),
        (lambda c: c['annotations'][0].update(bbox=[1, 2, 3]), r"'bbox' is \[1, 2, 3\]: write"),
        (lambda c: c['categories'][0].pop('name'), "category 8: 'name' is None"),
        (lambda c: c['annotations'][0].update(category_id=99), "no category has"),
    ],
)  # fmt: skip
def test_annotations_that_cannot_be_used(change, sentence, data, tmp_path):
    files = changed(data, change)
    with pytest.raises((ValueError, FileNotFoundError), match=sentence):
        named('downstream/folder/detection.py', *files, folder=tmp_path)


def test_other_classes_to_validate_with(data, tmp_path):
    val = changed(data, lambda c: c['categories'][1].update(name='cat'))
    with pytest.raises(ValueError, match="'cat' and 'Cat' differ in case: spell them alike"):
        named('downstream/folder/detection.py', *paths(data, 'images', 'masks.json'),
              val_data=val, folder=tmp_path)  # fmt: skip


def test_a_table_names_the_classes_of_label_maps(data, tmp_path):
    (tmp_path / 'table.txt').write_text('0 ground\n1 animal\n2 animal\n255 ignore\n')
    cfg = named('downstream/folder/segmentation.py', *paths(data, 'images', 'labels'),
                tmp_path / 'table.txt')  # fmt: skip
    assert cfg.model.decode_head.num_classes == 2
    assert cfg.train_dataloader.dataset.metainfo.classes == ['ground', 'animal']
    assert lengths(cfg.train_dataloader.dataset, cfg.val_dataloader.dataset) == [8, 2]
    (tmp_path / 'table.txt').write_text('0 ground\n1 animal\n255 ignore\n')
    with pytest.raises(ValueError, match='contains the value 2, which no class has'):
        named('downstream/folder/segmentation.py', *paths(data, 'images', 'labels'),
              tmp_path / 'table.txt')  # fmt: skip


@pytest.mark.parametrize(
    ('config', 'data', 'sentence'),
    [
        (
            'downstream/folder/detection.py',
            [],
            'this config is for your own data: add --data IMAGES',
        ),
        (
            'downstream/folder/detection.py',
            ['.'],
            '--data .: this config needs --data IMAGES ANNOTATIONS',
        ),
        ('downstream/folder/segmentation.py', ['.', 'nowhere'], '--data: nowhere does not exist'),
        ('downstream/retrieval/vit-base-p16_copydays-320px.py', ['.'], '--data cannot replace'),
    ],
)
def test_other_forms_are_refused(config, data, sentence):
    with pytest.raises((ValueError, FileNotFoundError), match=sentence):
        named(config, *data)


def test_a_trained_model_is_tested_on_all_of_other_images(data, tmp_path):
    """Its classes stay, in their order, also those that the images lack."""
    cfg = Config.fromfile(DETECTION)
    name_data(cfg, paths(data, 'images', 'masks.json'), folder=tmp_path)
    cfg.test_dataloader.dataset.metainfo.classes = ['Cat', 'cow', 'dog']
    name_data(cfg, paths(data, 'images', 'masks.json'), folder=tmp_path, test_only=True)
    assert cfg.test_evaluator.ann_file == str(tmp_path / 'test.json')
    assert len(json.loads((tmp_path / 'test.json').read_text())['images']) == 10
    assert cfg.test_dataloader.dataset.metainfo.classes == ['Cat', 'cow', 'dog']
    assert cfg.model.roi_head.bbox_head.num_classes == 3

    cfg = Config.fromfile(SEGMENTATION)
    name_data(cfg, paths(data, 'images', 'labels'))
    name_data(cfg, paths(data, 'images', 'labels'), test_only=True)
    assert lengths(cfg.train_dataloader.dataset, cfg.test_dataloader.dataset) == [8, 10]
    for config, names in (
        (DETECTION, ('images', 'masks.json')),
        (SEGMENTATION, ('images', 'labels')),
    ):
        places = paths(data, *names)
        with pytest.raises(ValueError, match='evaluates one set of data: give it as --data, with'):
            name_data(Config.fromfile(config), places, places, folder=tmp_path, test_only=True)


@pytest.mark.parametrize(
    ('network', 'expected'),
    [
        (dict(type='VisionTransformer', arch='deit-tiny', img_size=64, patch_size=8),
         dict(type='VisionTransformer', img_size=64, patch_size=8)),
        (dict(type='SwinTransformer', img_size=64, patch_size=2, window_size=4,
              arch=dict(embed_dims=16, depths=[1, 1, 2, 1], num_heads=[1, 2, 4, 8])),
         dict(type='SwinTransformer', img_size=64, patch_size=2)),
        (dict(type='ResNet', depth=18, base_channels=8, stem_channels=8),
         dict(type='ResNet', img_size=224, depth=18, base_channels=8, stem_channels=8)),
    ],
    ids=['vit', 'swin', 'resnet'],
)  # fmt: skip
def test_a_file_without_config_tells_its_network_by_its_tensors(network, expected, tmp_path):
    built = MODELS.build(dict(network, type=f'mmpretrain.{network["type"]}'))
    torch.save(dict(state_dict=built.state_dict()), tmp_path / 'a.pth')
    found = read_backbone(tmp_path / 'a.pth')
    assert expected.items() <= found.items()
    if 'arch' in found:  # the same network, down to the shape of each tensor
        again = MODELS.build(dict(found, type=f'mmpretrain.{found["type"]}'))
        shapes = {name: tensor.shape for name, tensor in again.state_dict().items()}
        assert shapes == {name: tensor.shape for name, tensor in built.state_dict().items()}

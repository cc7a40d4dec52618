"""Own images, boxes and label maps: from the command line to a trained network."""

import json

import numpy as np
import pytest
import torch
from conftest import ROOT, build_model
from mmengine.config import Config
from mmengine.registry import DefaultScope
from PIL import Image

from mmmask.apis.draw import DrawPredictionsHook
from mmmask.apis.own_data import name_data
from mmmask.apis.own_network import build_around, read_backbone
from mmmask.apis.train import load_config, train
from mmmask.datasets import held_out

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
    """Ten images of 48 x 64 px: a bright square ('Cat') or a dark one ('dog'), as boxes and maps."""
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
        images.append(dict(id=f'i{number}', file_name=f'somewhere/else/{name}', height=48, width=64))
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


def test_a_segmentor_of_own_classes_trains(data, checkpoints, tmp_path, caplog):
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
    check_drawings(runner, tmp_path / 'worst')


# The network around a checkpoint

LARGE = {
    'vit-base': dict(type='VisionTransformer', arch='base', img_size=224, patch_size=16),
    'vit-p14': dict(type='VisionTransformer', arch='small', img_size=224, patch_size=14),
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
            assert np.allclose(sizes, side / np.array(strides), rtol=0.02, atol=1)  # patches are padded
            assert {m.shape[1] for m in maps} == {cfg.model.rpn_head.in_channels}
            assert strides[0] in (3.5, 4) and len(strides) == 5
            model.rpn_head(maps)
        else:
            assert cfg.model.data_preprocessor.size == (2 * size, 2 * size)
            assert model.decode_head(maps).shape[1] == 150
            assert model.auxiliary_head(maps).shape[1] == 150

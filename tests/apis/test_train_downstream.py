"""One command form for detectors and segmentors: ``tools/train.py CONFIG --pretrained CKPT``."""

import json

import numpy as np
import pytest
import torch
from conftest import ROOT, build_model
from mmdet.evaluation import CocoMetric
from mmengine.config import Config
from PIL import Image
from pycocotools import mask as run_lengths

from mmmask.apis.train import load_config, scale_learning_rate, set_defaults, set_precision, train
from mmmask.checkpoints import CheckpointError
from mmmask.lab.digits_on_photographs import make_digits_on_photographs
from mmmask.lab.segmentation_maps import write_segmentation_maps

DIGITS = ROOT / 'configs/downstream/digits_on_photographs'
DETECTOR = DIGITS / 'mask-rcnn_vit-tiny-p8_1xb4-400i_digits-on-photographs.py'
SEGMENTOR = DIGITS / 'upernet_vit-tiny-p8_1xb4-400i_digits-on-photographs.py'


@pytest.fixture(scope='module')
def pretrained(tmp_path_factory):
    model = build_model('demo/localmim_vit-tiny_digits.py')
    path = tmp_path_factory.mktemp('pretrained') / 'epoch_1.pth'
    torch.save(dict(state_dict=model.state_dict()), path)
    return model.backbone, path


@pytest.fixture(scope='module')
def digits(tmp_path_factory):
    folder = tmp_path_factory.mktemp('digits')
    make_digits_on_photographs(folder, 4, 2, 64, 0)
    return folder


def options(folder, config):
    options = {
        'train_cfg.max_iters': 2, 'train_cfg.val_interval': 2, 'train_dataloader.batch_size': 2,
        'param_scheduler.0.end': 1, 'param_scheduler.1.begin': 1, 'param_scheduler.1.end': 2,
        'log_level': 'WARNING', 'env_cfg.dist_cfg.backend': 'gloo',
        'default_hooks.checkpoint.interval': 10, 'visualizer.vis_backends': [],
        # all but the first steps of a warm-up: what is loaded moves by less than this
        'optim_wrapper.optimizer.lr': 1e-6,
    }  # fmt: skip
    for part in ('train', 'val', 'test'):
        options[f'{part}_dataloader.dataset.data_root'] = str(folder)
    if config == DETECTOR:
        for part in ('val', 'test'):
            options[f'{part}_evaluator.ann_file'] = str(folder / 'annotations/instances_val.json')
    else:
        options |= {
            'model.data_preprocessor.size': (64, 64), 'model.backbone.img_size': (64, 64)
        }  # fmt: skip
    return options


@pytest.mark.parametrize('config', [DETECTOR, SEGMENTOR], ids=['detector', 'segmentor'])
def test_trains_from_a_pre_trained_backbone(config, digits, pretrained, tmp_path):
    backbone, path = pretrained
    cfg = load_config(
        config,
        options=options(digits, config) | {'experiment_name': config.stem},
        work_dir=str(tmp_path),
        pretrained=str(path),
    )
    runner = train(cfg)
    loaded = dict(backbone.named_parameters())
    same = [n for n, _ in runner.model.backbone.named_parameters() if n in loaded]
    assert len(same) >= 2 + 6 * 12
    for name, parameter in runner.model.backbone.named_parameters():
        if name in loaded and name != 'pos_embed':
            torch.testing.assert_close(parameter, loaded[name], atol=1e-4, rtol=0)
    history = runner.message_hub.get_scalar('train/loss').data[0]
    assert len(history) == 2 and np.isfinite(history).all()
    metric = 'val/coco/segm_mAP' if config == DETECTOR else 'val/mIoU'
    assert 0 <= runner.message_hub.get_scalar(metric).current() <= 100


def test_a_wrong_checkpoint_stops_before_the_first_step(digits, tmp_path):
    swin = build_model('demo/localmim_swin-tiny_digits.py')
    torch.save(dict(state_dict=swin.state_dict()), tmp_path / 'swin.pth')
    cfg = load_config(
        DETECTOR,
        options=options(digits, DETECTOR) | {'experiment_name': 'wrong'},
        work_dir=str(tmp_path),
        pretrained=str(tmp_path / 'swin.pth'),
    )
    with pytest.raises(CheckpointError, match='does not fit the backbone WindowVision'):
        train(cfg)


def test_checkpoints_that_a_config_names_give_way(pretrained, tmp_path):
    """Else they would be downloaded, only to be replaced."""
    text = """
default_scope = 'mmdet'
model = dict(
    type='MaskRCNN', pretrained='torchvision://resnet50',
    backbone=dict(
        type='ResNet', depth=50,
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50'),
    ),
)
"""
    (tmp_path / 'a.py').write_text(text)
    cfg = Config.fromfile(tmp_path / 'a.py')
    from mmmask.apis.train import drop_other_weights

    drop_other_weights(cfg.model)
    assert cfg.model.backbone.init_cfg is None and cfg.model.pretrained is None
    assert cfg.model.backbone.depth == 50


def loaders(scope):
    cfg = Config(dict(default_scope=scope, train_dataloader=dict(batch_size=2, dataset={})))
    set_defaults(cfg)
    return cfg.train_dataloader.collate_fn.type


def test_images_of_several_sizes_are_not_stacked():
    assert loaders('mmdet') == loaders('mmseg') == 'pseudo_collate'
    assert loaders('mmmask') == loaders('mmpretrain') == 'default_collate'


def test_scaling_that_a_config_disables_is_not_done():
    def rate(**scaling):
        wrapper = dict(optimizer=dict(type='SGD', lr=0.02))
        cfg = Config(
            dict(optim_wrapper=wrapper, train_dataloader=dict(batch_size=2), auto_scale_lr=scaling)
        )
        scale_learning_rate(cfg, 1)
        return cfg.optim_wrapper.optimizer.lr

    assert rate(base_batch_size=16, enable=False) == 0.02
    assert rate(base_batch_size=16) == rate(base_batch_size=16, enable=True) == 0.0025


def test_detectors_keep_their_precision_and_need_no_gpu(monkeypatch):
    def wrapper(scope, has_gpu, **options):
        monkeypatch.setattr(torch.cuda, 'is_available', lambda: has_gpu)
        monkeypatch.setattr(torch.cuda, 'is_bf16_supported', lambda: True)
        cfg = Config(dict(default_scope=scope, optim_wrapper=options))
        set_precision(cfg, 'auto')
        return cfg.optim_wrapper.to_dict()

    half = dict(type='AmpOptimWrapper', dtype='float16', loss_scale='dynamic')
    assert wrapper('mmdet', True, **half) == half
    assert wrapper('mmdet', True, type='OptimWrapper') == dict(type='OptimWrapper')
    assert wrapper('mmseg', True, type='OptimWrapper')['dtype'] == 'bfloat16'
    assert wrapper('mmdet', False, **half) == dict(type='OptimWrapper')


# Many instances in an image


def test_ap_of_crowded_images_counts_all_detections(tmp_path):
    """150 perfect detections are worth 1; the first 100 of them 0.67."""
    side, images = 16, []
    annotations, predictions = [], dict(bboxes=[], masks=[])
    for index in range(150):
        mask = np.zeros((160, 240), np.uint8, order='F')
        row, column = divmod(index, 15)
        mask[row * side + 2 : row * side + 12, column * side + 2 : column * side + 12] = 1
        box = [column * side + 2, row * side + 2, 10, 10]
        code = run_lengths.encode(mask)
        predictions['bboxes'].append([box[0], box[1], box[0] + 10, box[1] + 10])
        predictions['masks'].append(code)
        code = dict(size=code['size'], counts=code['counts'].decode())
        annotations.append(
            dict(id=index + 1, image_id=1, category_id=1, bbox=box, area=100, iscrowd=0,
                 segmentation=code)
        )  # fmt: skip
    images = [dict(id=1, file_name='a.png', height=160, width=240)]
    content = dict(images=images, annotations=annotations, categories=[dict(id=1, name='nucleus')])
    (tmp_path / 'val.json').write_text(json.dumps(content))
    sample = dict(
        img_id=1,
        ori_shape=(160, 240),
        pred_instances=dict(
            bboxes=torch.tensor(predictions['bboxes'], dtype=torch.float32),
            scores=torch.linspace(1, 0.5, 150),
            labels=torch.zeros(150, dtype=torch.long),
            masks=predictions['masks'],
        ),
    )
    cfg = Config.fromfile(
        ROOT / 'configs/downstream/nuclei/mask-rcnn_vit-tiny-p8_1xb4-400i_nuclei.py'
    )
    options = {k: v for k, v in cfg.val_evaluator.items() if k not in ('type', 'ann_file')}
    scores = []
    for arguments in (options, dict(metric=['bbox', 'segm'])):
        metric = CocoMetric(ann_file=str(tmp_path / 'val.json'), **arguments)
        metric.dataset_meta = dict(classes=('nucleus',))
        metric.process({}, [sample])
        scores.append(metric.evaluate(size=1))
    assert scores[0]['coco/segm_mAP'] == scores[0]['coco/bbox_mAP'] == 1
    assert scores[1]['coco/segm_mAP'] == pytest.approx(0.67, abs=0.01)  # 67 of 101 recalls


def test_segmentation_maps_of_instance_masks(digits, tmp_path):
    """Equal to those that the tool for digits draws; smaller instances are in front."""
    out = tmp_path / 'maps'
    assert write_segmentation_maps(digits / 'annotations/instances_train.json', out) == 4
    for path in sorted((digits / 'segmentation/train').glob('*.png')):
        assert np.array_equal(np.array(Image.open(out / path.name)), np.array(Image.open(path)))

    square = lambda left, side: [[left, 0, left + side, 0, left + side, side, left, side]]  # noqa: E731
    content = dict(
        images=[dict(id=7, file_name='a.jpg', height=8, width=8)],
        categories=[dict(id=30, name='large'), dict(id=4, name='small')],
        annotations=[
            dict(id=1, image_id=7, category_id=4, area=4, segmentation=square(0, 2), iscrowd=0),
            dict(id=2, image_id=7, category_id=30, area=64, segmentation=square(0, 8), iscrowd=0),
        ],
    )
    (tmp_path / 'a.json').write_text(json.dumps(content))
    write_segmentation_maps(tmp_path / 'a.json', tmp_path / 'b')
    expected = np.ones((8, 8), np.uint8)
    expected[:2, :2] = 2
    assert np.array_equal(np.array(Image.open(tmp_path / 'b/a.png')), expected)
    (tmp_path / 'c.json').write_text(json.dumps(dict(images=[], annotations=[])))
    with pytest.raises(ValueError, match='holds no images with annotations'):
        write_segmentation_maps(tmp_path / 'c.json', tmp_path / 'c')

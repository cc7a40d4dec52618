"""Detection and segmentation recipes, value by value; every model is built at full size."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT, with_options
from mmengine.config import Config
from mmengine.registry import DefaultScope
from PIL import Image

from mmmask.registry import DATASETS, METRICS, MODELS

DOWNSTREAM = ROOT / 'configs' / 'downstream'
FOLDERS = (
    *('coco', 'ade20k', 'voc0712', 'voc12aug', 'cityscapes'),
    *('digits_on_photographs', 'nuclei'),
)
CONFIGS = {
    path.stem: path
    for folder in FOLDERS
    for path in sorted((DOWNSTREAM / folder).glob('*.py'))
    if not path.stem.startswith('pretrain')
}
COCO, ADE = 'mask-rcnn_vit-base-p16_8xb8-amp-lsj-{}e_coco', 'upernet_{}_160k_ade20k-512x512'


def read(name):
    return Config.fromfile(CONFIGS[name])


def build(cfg):
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        return MODELS.build(cfg.model)


def longer(config):
    """The documented options for a longer schedule."""
    document = (ROOT / 'docs/detection_and_segmentation.md').read_text()
    (options,) = re.findall(rf'^\| .* \| .*`{re.escape(config)}` \| `(.*)` \|$', document, re.M)
    return options


def number(module):
    return sum(p.numel() for p in module.parameters())


# ViT-B without class token and final norm, with 2·127 or 2·27 offsets of 64 channels a block, and
# 64 x 64 positions.
VIT_B = 12 * (12 * 768 * 768 + 13 * 768) + 768 * 16 * 16 * 3 + 768
VITDET_B = VIT_B + 64 * 64 * 768 + 64 * 2 * (4 * 127 + 8 * 27)
# With class token, 1 + 32 x 32 positions, LayerScale, and a bias for each of 63² + 3 offsets.
UPERNET_VIT_B = VIT_B + 768 * (2 + 32 * 32) + 12 * (2 * 768 + 12 * (63 * 63 + 3))
BACKBONES = {'r50': 23_508_032, 'swin-base-w7': 86_745_016}


@pytest.mark.parametrize('name', {str(read(n).model): n for n in CONFIGS}.values())
def test_every_model_builds_at_its_full_size(name, on_meta):
    cfg = read(name)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = on_meta(cfg.model)
    size = number(model.backbone)
    if 'vit-base' in name and 'coco' in name:
        assert size == VITDET_B
    elif 'vit-base' in name and 'cityscapes' not in name:
        assert size == UPERNET_VIT_B
    elif name.split('_')[1] in BACKBONES:
        assert size == BACKBONES[name.split('_')[1]]
    if hasattr(model, 'decode_head'):
        classes = cfg.model.decode_head.num_classes
        assert model.decode_head.conv_seg.out_channels == classes
        assert model.auxiliary_head.conv_seg.out_channels == classes
        assert number(model.auxiliary_head) > 0


def test_vitdet_recipe():
    for epochs, iterations, steps in (
        (100, 184_375, [163_889, 177_546]),
        (50, 92_188, [81_945, 88_773]),
        (25, 46_094, [40_972, 44_387]),
    ):
        cfg = read(COCO.format(epochs))
        assert cfg.train_cfg.max_iters == iterations
        assert iterations == pytest.approx(184_375 * epochs / 100, abs=1)
        warmup, decay = cfg.param_scheduler
        assert (warmup.start_factor, warmup.begin, warmup.end) == (0.001, 0, 250)
        assert (decay.milestones, decay.gamma, decay.by_epoch) == (steps, 0.1, False)
        assert np.array(steps) / iterations == pytest.approx([0.8889, 0.9630], abs=1e-4)
        assert cfg.train_dataloader.batch_size == 8  # x 8 GPUs = 64

    cfg = read(COCO.format(100))
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.lr, optimizer.betas, optimizer.weight_decay) == (1e-4, (0.9, 0.999), 0.1)
    assert cfg.optim_wrapper.paramwise_cfg.layer_decay_rate == 0.7
    assert (cfg.optim_wrapper.type, cfg.optim_wrapper.dtype) == ('AmpOptimWrapper', 'float16')
    assert cfg.model.backbone.drop_path_rate == 0.1
    large = read('mask-rcnn_vit-large-p16_8xb8-amp-lsj-100e_coco')
    assert large.model.backbone.drop_path_rate == 0.4
    assert large.optim_wrapper.paramwise_cfg.layer_decay_rate == 0.8
    assert large.train_cfg.max_iters == 184_375


def test_vitdet_model(on_meta):
    cfg = read(COCO.format(100))
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = on_meta(cfg.model)
        large = on_meta(read('mask-rcnn_vit-large-p16_8xb8-amp-lsj-100e_coco').model)
    windows = [layer.window_size for layer in model.backbone.layers]
    assert windows == [0 if i in (2, 5, 8, 11) else 14 for i in range(12)]
    windows = [layer.window_size for layer in large.backbone.layers]
    assert [i for i, window in enumerate(windows) if not window] == [5, 11, 17, 23]
    assert not any('cls_token' in name for name, _ in model.backbone.named_parameters())
    assert len(model.rpn_head.rpn_conv) == 2
    head = model.roi_head.bbox_head
    assert len(head.shared_convs) == 4 and len(head.shared_fcs) == 1
    assert type(head.shared_convs[0].norm).__name__ == 'LayerNorm2d'
    assert head.shared_convs[0].conv.bias is None
    assert type(model.roi_head.mask_head.convs[3].norm).__name__ == 'LayerNorm2d'


def test_cascade_recipe():
    cfg = read('cascade-mask-rcnn_vit-base-p16_8xb8-amp-lsj-100e_coco')
    heads, stages = cfg.model.roi_head.bbox_head, cfg.model.train_cfg.rcnn
    assert [1 / std for head in heads for std in head.bbox_coder.target_stds] == pytest.approx(
        [10, 10, 5, 5, 20, 20, 10, 10, 30, 30, 15, 15]
    )
    assert all(head.reg_class_agnostic for head in heads)
    assert [stage.assigner.pos_iou_thr for stage in stages] == [0.5, 0.6, 0.7]
    assert cfg.train_cfg.max_iters == 184_375


@pytest.mark.parametrize(
    ('name', 'epochs', 'steps'),
    [
        ('mask-rcnn_r50_fpn_8xb2-ms-1x_coco', 12, [8, 11]),
        ('mask-rcnn_r50_fpn_8xb2-ms-1x_coco', 24, [16, 22]),
        ('mask-rcnn_r50-c4_8xb2-ms-1x_coco', 12, [8, 11]),
    ],
)
def test_resnet_recipes_are_those_of_mmpretrains_benchmark(name, epochs, steps):
    cfg = read(name)
    if epochs == 24:
        cfg = with_options(cfg, longer('coco/mask-rcnn_r50_fpn_8xb2-ms-1x'))
    kind = 'c4' if 'c4' in name else 'fpn'
    with DefaultScope.overwrite_default_scope('mmdet'):
        theirs = Config.fromfile(_benchmark(kind))
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.lr, optimizer.momentum, optimizer.weight_decay) == (0.02, 0.9, 1e-4)
    assert theirs.optim_wrapper.optimizer.lr == 0.02
    warmup = cfg.param_scheduler[0].to_dict()
    assert warmup == {k: v for k, v in theirs.param_scheduler[0].items() if k != '_scope_'}
    assert cfg.param_scheduler[1].milestones == steps
    assert cfg.train_cfg.max_epochs == epochs and cfg.train_dataloader.batch_size == 2
    for part in ('frozen_stages', 'norm_eval', 'norm_cfg'):
        assert cfg.model.backbone[part] == theirs.model.backbone[part]
    for part in ('train_cfg', 'test_cfg', 'rpn_head', 'roi_head', 'neck', 'data_preprocessor'):
        ours, reference = plain(cfg.model.get(part)), plain(theirs.model.get(part))
        differences = compare(ours or {}, reference or {})
        assert differences == [], part
    ours, reference = (plain(c.train_dataloader.dataset.pipeline.copy()) for c in (cfg, theirs))
    for step in (*ours, *reference):
        step.pop('backend_args', None)
    assert ours == reference


def _benchmark(kind):
    import mmpretrain

    folder = Path(mmpretrain.__path__[0], '.mim', 'configs', 'byol', 'benchmarks')
    name = dict(fpn='mask-rcnn_r50_fpn_ms-1x_coco.py', c4='mask-rcnn_r50-c4_ms-1x_coco.py')[kind]
    return folder / name


def plain(value):
    """Types without their scope, and without what equals a default."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items() if k != '_scope_'}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, str):
        return value.rpartition('.')[2]
    return value


DEFAULTS = {
    'use_sigmoid': False, 'loss_weight': 1.0, 'target_means': [0.0] * 4, 'target_stds': [1.0] * 4
}  # fmt: skip


def compare(ours, theirs, path=''):
    """Keys with other values, those that one leaves at the default apart."""
    if not isinstance(ours, dict) or not isinstance(theirs, dict):
        return [] if ours == theirs else [(path, ours, theirs)]
    return [
        difference
        for key in {*ours, *theirs}
        for difference in compare(
            ours.get(key, DEFAULTS.get(key)), theirs.get(key, DEFAULTS.get(key)), f'{path}.{key}'
        )
    ]


def test_voc_detection_recipe():
    """24,000 iterations of Faster R-CNN on the third stage, the fourth in the head, as MoCo's."""
    cfg = read('faster-rcnn_r50-c4_8xb2-ms-24k_voc0712')
    coco = read('mask-rcnn_r50-c4_8xb2-ms-1x_coco').model
    for part in ('backbone', 'rpn_head', 'train_cfg', 'test_cfg'):
        assert cfg.model[part] == coco[part]
    assert cfg.model.type == 'mmdet.FasterRCNN' and cfg.model.roi_head.mask_head is None
    assert cfg.model.roi_head.bbox_head == coco.roi_head.bbox_head | dict(num_classes=20)
    check_24k(cfg, lr=0.02, batch_size=2, warmup=100, steps=[18_000, 22_000])
    train, test = cfg.train_dataloader.dataset, cfg.test_dataloader.dataset
    assert [part.ann_file for part in train.datasets] == [
        'VOC2007/ImageSets/Main/trainval.txt', 'VOC2012/ImageSets/Main/trainval.txt'
    ]  # fmt: skip
    assert test.ann_file == 'VOC2007/ImageSets/Main/test.txt'
    sides = [480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800]
    assert train.datasets[1].pipeline[2].scales == [(1333, side) for side in sides]
    assert test.pipeline[1].scale == (1333, 800)
    metric = cfg.test_evaluator
    assert metric.eval_mode == '11points'
    assert metric.iou_thrs == [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95]


def test_cityscapes_instance_recipe():
    cfg = read('mask-rcnn_r50_fpn_8xb1-ms-24k_cityscapes')
    model = read('mask-rcnn_r50_fpn_8xb2-ms-1x_coco').model
    for head in ('bbox_head', 'mask_head'):
        model.roi_head[head].num_classes = 8
    assert cfg.model == model
    check_24k(cfg, lr=0.01, batch_size=1, warmup=1000, steps=[18_000])
    scales = [(2048, side) for side in (800, 832, 864, 896, 928, 960, 992, 1024)]
    assert cfg.train_dataloader.dataset.pipeline[2].scales == scales
    assert cfg.test_dataloader.dataset.pipeline[1].scale == (2048, 1024)
    assert cfg.test_evaluator.metric == ['bbox', 'segm']
    assert cfg.test_evaluator.ann_file.endswith(cfg.test_dataloader.dataset.ann_file)


def check_24k(cfg, lr, batch_size, warmup, steps):
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.lr, optimizer.momentum, optimizer.weight_decay) == (lr, 0.9, 1e-4)
    first, decay = cfg.param_scheduler
    assert (first.start_factor, first.end, first.by_epoch) == (0.001, warmup, False)
    assert (decay.milestones, decay.gamma, decay.by_epoch) == (steps, 0.1, False)
    assert cfg.train_cfg.max_iters == 24_000
    assert cfg.train_dataloader.batch_size == batch_size


def test_voc_boxes_are_read_and_measured(tmp_path):
    """Whole images are told to be cats and rockets, found where they are or shifted by a fifth."""
    from skimage import data

    for year in (2007, 2012):
        for folder in ('JPEGImages', 'Annotations', 'ImageSets/Main'):
            (tmp_path / f'VOC{year}' / folder).mkdir(parents=True)
        for part in ('trainval', 'test'):
            (tmp_path / f'VOC{year}/ImageSets/Main/{part}.txt').write_text('1\n2\n')
        for name, label, image in (('1', 'cat', data.chelsea()), ('2', 'train', data.rocket())):
            height, width = image.shape[:2]
            Image.fromarray(image).save(tmp_path / f'VOC{year}/JPEGImages/{name}.jpg')
            (tmp_path / f'VOC{year}/Annotations/{name}.xml').write_text(
                f'<annotation><size><width>{width}</width><height>{height}</height></size><object>'
                f'<name>{label}</name><difficult>0</difficult><bndbox><xmin>1</xmin><ymin>1</ymin>'
                f'<xmax>{width}</xmax><ymax>{height}</ymax></bndbox></object></annotation>'
            )
    cfg = read('faster-rcnn_r50-c4_8xb2-ms-24k_voc0712')
    train, test = cfg.train_dataloader.dataset, cfg.test_dataloader.dataset
    for part in (*train.datasets, test):
        part.data_root = str(tmp_path)
    with DefaultScope.overwrite_default_scope('mmdet'):
        train, test = DATASETS.build(train), DATASETS.build(test)
        metric = METRICS.build(cfg.test_evaluator)
    assert len(train) == 4 and {min(sample['inputs'].shape[1:]) % 32 for sample in train} == {0}
    metric.dataset_meta = test.metainfo
    samples = []
    for index, sample in enumerate(test):
        found = sample['data_samples'].to_dict()
        scale = np.tile(found['scale_factor'], 2)
        truth = found['gt_instances']
        boxes = truth['bboxes'].tensor / torch.tensor(scale).float()
        truth = dict(bboxes=boxes, labels=truth['labels'])
        width = boxes[:, 2] - boxes[:, 0]
        shifted = boxes + index * 0.2 * width[:, None] * torch.tensor([1.0, 0.0, 1.0, 0.0])
        samples.append(
            dict(
                gt_instances=truth,
                ignored_instances=dict(bboxes=boxes[:0], labels=truth['labels'][:0]),
                pred_instances=dict(bboxes=shifted, scores=torch.ones(1), labels=truth['labels']),
            )
        )
    metric.process({}, samples)
    values = metric.evaluate(len(samples))
    # A box shifted by a fifth overlaps by 0.8 / 1.2 = 0.667: four of ten thresholds.
    assert values['pascal_voc/AP50'] == 1.0
    assert values['pascal_voc/AP75'] == 0.5
    assert values['pascal_voc/mAP'] == pytest.approx((1 + 0.4) / 2)


def test_swin_detection_recipe():
    for name, epochs, steps in (
        ('mask-rcnn_swin-base-w7_fpn_8xb2-1x_coco', 12, [8, 11]),
        ('mask-rcnn_swin-base-w7_fpn_8xb2-ms-crop-3x_coco', 36, [27, 33]),
    ):
        cfg = read(name)
        optimizer = cfg.optim_wrapper.optimizer
        assert (optimizer.type, optimizer.lr, optimizer.weight_decay) == ('AdamW', 1e-4, 0.05)
        warmup, decay = cfg.param_scheduler
        assert (warmup.start_factor, warmup.end, warmup.by_epoch) == (0.001, 1000, False)
        assert (cfg.train_cfg.max_epochs, decay.milestones) == (epochs, steps)
        assert cfg.model.backbone.drop_path_rate == 0.3
    crop = cfg.train_dataloader.dataset.pipeline[3].transforms
    sides = [480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800]
    assert [scale[0] for scale in crop[0][0].scales] == sides
    assert [scale[0] for scale in crop[1][0].scales] == [400, 500, 600]
    assert crop[1][1].crop_size == (384, 600)
    assert crop[1][2].scales == crop[0][0].scales


@pytest.mark.parametrize(
    ('name', 'taps', 'lr', 'decay', 'layer_decay', 'drop_path', 'channels', 'mode'),
    [
        ('vit-base-p16_localmim_8xb2-amp', [1, 3, 9, 11], 4e-4, 0.05, 0.65, 0.1, 768, 'slide'),
        ('vit-base-p16_mae_8xb2-amp', [3, 5, 7, 11], 1e-4, 0.05, 0.65, 0.1, 768, 'slide'),
        ('swin-base-w7_8xb2', (0, 1, 2, 3), 6e-5, 0.01, None, 0.3, 512, 'whole'),
        ('r50_8xb2', (0, 1, 2, 3), 0.01, 5e-4, None, None, 512, 'whole'),
    ],
)
def test_ade20k_recipes(name, taps, lr, decay, layer_decay, drop_path, channels, mode):
    cfg = Config.fromfile(CONFIGS[f'upernet_{name}-160k_ade20k-512x512'])
    model, optimizer = cfg.model, cfg.optim_wrapper.optimizer
    assert model.backbone.out_indices == taps
    assert (optimizer.lr, optimizer.weight_decay) == (lr, decay)
    assert cfg.optim_wrapper.get('paramwise_cfg', {}).get('layer_decay_rate') == layer_decay
    assert model.backbone.get('drop_path_rate') == drop_path
    assert (model.decode_head.channels, model.test_cfg.mode) == (channels, mode)
    if mode == 'slide':
        assert model.test_cfg.to_dict() == dict(
            mode='slide', crop_size=(512, 512), stride=(341, 341)
        )
        assert model.backbone.init_values == 1.0
    assert (model.decode_head.num_classes, model.auxiliary_head.num_classes) == (150, 150)
    auxiliary = model.auxiliary_head
    assert (auxiliary.in_index, auxiliary.channels, auxiliary.num_convs) == (2, 256, 1)
    assert auxiliary.loss_decode.loss_weight == 0.4
    assert model.decode_head.norm_cfg.type == 'SyncBN'
    assert cfg.train_cfg.max_iters == 160_000 and cfg.train_dataloader.batch_size == 2
    if name != 'r50_8xb2':
        warmup, poly = cfg.param_scheduler
        assert (warmup.start_factor, warmup.end) == (1e-6, 1500)
        assert (poly.power, poly.eta_min, poly.begin, poly.end) == (1.0, 0.0, 1500, 160_000)
    check_segmentation_data(cfg, (2048, 512), (512, 512), reduce_zero_label=True)


def check_segmentation_data(cfg, scale, crop_size, reduce_zero_label):
    dataset = cfg.train_dataloader.dataset
    steps = (dataset.datasets[0] if 'datasets' in dataset else dataset).pipeline
    _, annotations, resize, crop, flip, distort, _ = steps
    assert annotations.get('reduce_zero_label', False) == reduce_zero_label
    assert (resize.scale, resize.ratio_range, resize.keep_ratio) == (scale, (0.5, 2.0), True)
    assert (crop.crop_size, crop.cat_max_ratio, flip.prob) == (crop_size, 0.75, 0.5)
    assert distort.type == 'mmseg.PhotoMetricDistortion'
    _, resize, annotations, _ = cfg.val_dataloader.dataset.pipeline
    assert (resize.scale, resize.keep_ratio) == (scale, True)
    assert cfg.val_evaluator.iou_metrics == ['mIoU']
    assert cfg.model.data_preprocessor.size == crop_size


UPERNETS = [n for n in CONFIGS if n.startswith('upernet')]


@pytest.mark.parametrize(
    ('name', 'length'),
    [(n, length) for n in UPERNETS if 'voc12aug' in n for length in (20_000, 40_000)]
    + [(n, 80_000) for n in UPERNETS if 'cityscapes' in n],
)
def test_voc_and_cityscapes_take_the_rows_of_ade20k(name, length):
    cfg = read(name)
    voc = 'voc12aug' in name
    kind = name.split('_8xb')[0].removeprefix('upernet_')
    if length == 40_000:
        which = kind if kind == 'r50' else '*'
        cfg = with_options(cfg, longer(f'voc12aug/upernet_{which}_8xb2-20k'))
        assert cfg.train_cfg.val_interval == cfg.default_hooks.checkpoint.interval == 4_000
    suffix = '-amp' if 'vit' in kind else ''
    ade = Config.fromfile(CONFIGS[f'upernet_{kind}_8xb2{suffix}-160k_ade20k-512x512'])
    assert cfg.optim_wrapper.to_dict() == ade.optim_wrapper.to_dict()
    assert cfg.train_cfg.max_iters == length == cfg.param_scheduler[-1].end
    expected = ade.param_scheduler[-1].to_dict() | dict(end=length)
    assert cfg.param_scheduler[-1].to_dict() == expected
    assert cfg.model.decode_head.num_classes == (21 if voc else 19)
    if voc:
        check_segmentation_data(cfg, (2048, 512), (512, 512), False)
        files = [part.ann_file for part in cfg.train_dataloader.dataset.datasets]
        assert files == [f'ImageSets/Segmentation/{part}.txt' for part in ('train', 'aug')]
    else:
        check_segmentation_data(cfg, (2048, 1024), (512, 1024), False)
        if 'vit' in name:
            assert cfg.model.backbone.img_size == (512, 1024)


@pytest.fixture
def coco_folder(tmp_path):
    """Two photographs of other shapes with one instance each."""
    from skimage import data

    images, annotations = [], []
    for index, image in enumerate((data.chelsea(), data.rocket())):
        height, width = image.shape[:2]
        Image.fromarray(image).save(tmp_path / f'{index}.jpg')
        images.append(dict(id=index, file_name=f'{index}.jpg', height=height, width=width))
        box = [0, 0, width, height]  # so that every crop has some of it
        polygon = [0, 0, width, 0, width, height, 0, height]
        annotations.append(
            dict(id=index + 1, image_id=index, category_id=1, bbox=box, area=width * height,
                 segmentation=[polygon], iscrowd=0)
        )  # fmt: skip
    content = dict(images=images, annotations=annotations, categories=[dict(id=1, name='person')])
    (tmp_path / 'a.json').write_text(json.dumps(content))
    return tmp_path


@pytest.mark.parametrize(
    'name',
    [
        COCO.format(100),
        'mask-rcnn_swin-base-w7_fpn_8xb2-1x_coco',
        'mask-rcnn_swin-base-w7_fpn_8xb2-ms-crop-3x_coco',
        'mask-rcnn_r50_fpn_8xb2-ms-1x_coco',
    ],
)
def test_detection_pipelines_run(name, coco_folder):
    cfg = read(name)
    with DefaultScope.overwrite_default_scope('mmdet'):
        for loader in (cfg.train_dataloader, cfg.val_dataloader):
            loader.dataset.update(
                data_root=str(coco_folder), ann_file='a.json', data_prefix=dict(img='')
            )
            dataset = DATASETS.build(loader.dataset)
            samples = [dataset[index] for index in range(len(dataset))]
            assert len(samples) == 2
        preprocessor = MODELS.build(cfg.model.data_preprocessor)
        inputs = [sample['inputs'] for sample in samples]
        batch = preprocessor(
            dict(inputs=inputs, data_samples=[sample['data_samples'] for sample in samples])
        )['inputs']
    largest = max(max(image.shape[1:]) for image in inputs)
    if 'lsj' in name:
        assert largest == 1024 and batch.shape == (2, 3, 1024, 1024)
        assert batch[0, :, -1, -1].tolist() == [0, 0, 0]  # padded by the mean colour
    else:
        assert {min(image.shape[1:]) for image in inputs} == {800}
        assert batch.shape[2] % 32 == batch.shape[3] % 32 == 0


def test_large_scale_jitter_crops_to_1024(coco_folder):
    cfg = read(COCO.format(25))
    cfg.train_dataloader.dataset.update(
        data_root=str(coco_folder), ann_file='a.json', data_prefix=dict(img='')
    )
    np.random.seed(0)  # noqa: NPY002  what transforms draw from
    with DefaultScope.overwrite_default_scope('mmdet'):
        dataset = DATASETS.build(cfg.train_dataloader.dataset)
        sides = [max(dataset[0]['inputs'].shape[1:]) for _ in range(16)]
    # The long side is 1024 times 0.1 to 2, of which 1024 are left.
    assert max(sides) == 1024 and 100 <= min(sides) < 600
    assert sum(side == 1024 for side in sides) in range(3, 14)


def test_digits_configs_ask_for_the_same_budget_and_their_classes():
    """Detectors tell ten digits apart, segmentors digits from photographs."""
    digits = [read(name) for name in CONFIGS if name.endswith('digits-on-photographs')]
    assert len(digits) == 4
    assert len({str(cfg.optim_wrapper) + str(cfg.param_scheduler) for cfg in digits}) == 1
    assert {cfg.train_cfg.max_iters * cfg.train_dataloader.batch_size for cfg in digits} == {1600}
    for cfg in digits:
        assert cfg.randomness.seed == 0
        classes = cfg.train_dataloader.dataset.metainfo.classes
        if 'decode_head' in cfg.model:
            assert classes == ('background', 'digit')
            assert cfg.model.decode_head.num_classes == 2
        else:
            assert classes == tuple('0123456789')
            assert cfg.model.roi_head.bbox_head.num_classes == 10


def test_a_small_detector_of_each_kind_learns_from_an_image(tmp_path):
    """Loss falls on one batch of the data that the tool makes."""
    from mmmask.lab.digits_on_photographs import make_digits_on_photographs

    make_digits_on_photographs(tmp_path / 'data', 4, 1, 64, 0)
    for name in [n for n in CONFIGS if n.endswith('digits-on-photographs')]:
        cfg = read(name)
        with DefaultScope.overwrite_default_scope(cfg.default_scope):
            dataset = cfg.train_dataloader.dataset
            dataset.data_root = str(tmp_path / 'data')
            if 'decode_head' in cfg.model:
                cfg.model.data_preprocessor.size = (64, 64)
            cfg.model.backbone.update(
                {}
                if 'img_size' not in cfg.model.backbone
                else dict(img_size=64 if 'Swin' in cfg.model.backbone.type else (64, 64))
            )
            dataset = DATASETS.build(dataset)
            torch.manual_seed(0)
            model = MODELS.build(cfg.model)
            model.init_weights()
            model.train()
            samples = [dataset[index] for index in range(2)]
            batch = model.data_preprocessor(
                dict(
                    inputs=[sample['inputs'] for sample in samples],
                    data_samples=[sample['data_samples'] for sample in samples],
                ),
                training=True,
            )
            optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
            losses = []
            for _ in range(12):
                loss, _ = model.parse_losses(model(**batch, mode='loss'))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
        assert np.isfinite(losses).all()
        assert losses[-1] < 0.85 * losses[0], name
        assert all(
            p.grad is not None for n, p in model.backbone.named_parameters() if 'norm' not in n
        ), name

_base_ = [
    '../../_base_/models/mask-rcnn_r50_c4.py',
    '../../_base_/datasets/coco_instance.py',
    '../../_base_/schedules/detection_24k.py',
    '../../_base_/runtime/detection_iterations.py',
]

# MoCo's recipe from memory, without precise batch statistics. batch = 8 GPUs * 2 = 16
model = dict(
    type='mmdet.FasterRCNN',
    data_preprocessor=dict(pad_mask=False),
    roi_head=dict(bbox_head=dict(num_classes=20), mask_head=None),
)
# Trained on trainval of VOC 2007 and 2012 with a short side sampled from 480 to 800, tested on test
# of 2007.
load = [dict(type='LoadImageFromFile'), dict(type='mmdet.LoadAnnotations', with_bbox=True)]
images = dict(type='mmdet.VOCDataset', data_root='data/VOCdevkit/')
train_dataloader = dict(
    sampler=dict(type='mmmask.ResumableInfiniteSampler'),
    dataset=dict(
        _delete_=True,
        type='mmdet.ConcatDataset',
        ignore_keys=['dataset_type'],  # the year, which the metric reads from the test set
        datasets=[
            dict(
                images,
                ann_file=f'VOC{year}/ImageSets/Main/trainval.txt',
                data_prefix=dict(sub_data_root=f'VOC{year}/'),
                filter_cfg=dict(filter_empty_gt=True, min_size=32),
                pipeline=[
                    *load,
                    dict(
                        type='RandomChoiceResize',
                        scales=[(1333, side) for side in range(480, 801, 32)],
                        keep_ratio=True,
                    ),
                    _base_.flip,
                    _base_.pack,
                ],
            )
            for year in (2007, 2012)
        ],
    ),
)
val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        **images,
        ann_file='VOC2007/ImageSets/Main/test.txt',
        data_prefix=dict(sub_data_root='VOC2007/'),
        test_mode=True,
        pipeline=[load[0], _base_.resize, load[1], _base_.pack_for_test],
    )
)
test_dataloader = val_dataloader
# AP of VOC 2007, of eleven recalls; its mean over the thresholds of COCO, AP50 and AP75.
val_evaluator = dict(
    _delete_=True,
    type='mmdet.VOCMetric',
    iou_thrs=[percent / 100 for percent in range(50, 100, 5)],
    eval_mode='11points',
)
test_evaluator = val_evaluator
default_hooks = dict(checkpoint=dict(interval=4_000, save_best='pascal_voc/mAP'))

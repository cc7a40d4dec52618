_base_ = 'coco_instance.py'

# VOC 2007 and 2012: training on both trainval sets, short side 480 to 800 by choice; test of 2007.
data_root = 'data/VOCdevkit/'
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='mmdet.LoadAnnotations', with_bbox=True),
    dict(
        type='RandomChoiceResize',
        scales=[(1333, side) for side in range(480, 801, 32)],
        keep_ratio=True,
    ),
    dict(type='mmdet.RandomFlip', prob=0.5),
    dict(type='mmdet.PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='mmdet.Resize', scale=(1333, 800), keep_ratio=True),
    dict(type='mmdet.LoadAnnotations', with_bbox=True),
    dict(
        type='mmdet.PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'),
    ),
]
train_dataloader = dict(
    sampler=dict(type='mmmask.ResumableInfiniteSampler'),
    dataset=dict(
        _delete_=True,
        type='mmdet.ConcatDataset',
        ignore_keys=['dataset_type'],  # the year, which the metric reads from the test set
        datasets=[
            dict(
                type='mmdet.VOCDataset',
                data_root=data_root,
                ann_file=f'VOC{year}/ImageSets/Main/trainval.txt',
                data_prefix=dict(sub_data_root=f'VOC{year}/'),
                filter_cfg=dict(filter_empty_gt=True, min_size=32),
                pipeline=train_pipeline,
            )
            for year in (2007, 2012)
        ],
    ),
)
val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='mmdet.VOCDataset',
        data_root=data_root,
        ann_file='VOC2007/ImageSets/Main/test.txt',
        data_prefix=dict(sub_data_root='VOC2007/'),
        test_mode=True,
        pipeline=test_pipeline,
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

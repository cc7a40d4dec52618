_base_ = [
    '../../_base_/models/mask-rcnn_r50_c4.py',
    '../../_base_/datasets/coco_instance.py',
    '../../_base_/schedules/detection_1x.py',
    '../../_base_/runtime/detection.py',
]

# Short side 640 to 800 by choice; batch = 8 GPUs * 2 = 16
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='mmdet.LoadAnnotations', with_bbox=True, with_mask=True),
    dict(
        type='RandomChoiceResize',
        scales=[(1333, side) for side in range(640, 801, 32)],
        keep_ratio=True,
    ),
    dict(type='mmdet.RandomFlip', prob=0.5),
    dict(type='mmdet.PackDetInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))

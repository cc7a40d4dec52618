_base_ = 'mask-rcnn_swin-base-w7_fpn_8xb2-1x_coco.py'

# DETR's augmentation: half of the images are resized, cropped and resized again.
resize_by_choice = dict(
    type='RandomChoiceResize',
    scales=[(side, 1333) for side in range(480, 801, 32)],
    keep_ratio=True,
)
train_dataloader = dict(
    dataset=dict(
        pipeline=[
            *_base_.load,
            _base_.flip,
            dict(
                type='RandomChoice',
                transforms=[
                    [resize_by_choice],
                    [
                        dict(resize_by_choice, scales=[(400, 1333), (500, 1333), (600, 1333)]),
                        dict(
                            type='mmdet.RandomCrop',
                            crop_type='absolute_range',
                            crop_size=(384, 600),
                            allow_negative_crop=True,
                        ),
                        resize_by_choice,
                    ],
                ],
            ),
            _base_.pack,
        ]
    )
)
param_scheduler = [
    _base_.param_scheduler[0],
    dict(_base_.param_scheduler[1], milestones=[27, 33]),
]
train_cfg = dict(max_epochs=36)

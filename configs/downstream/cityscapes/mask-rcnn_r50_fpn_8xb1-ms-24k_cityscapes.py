_base_ = [
    '../../_base_/models/mask-rcnn_r50_fpn.py',
    '../../_base_/datasets/coco_instance.py',
    '../../_base_/schedules/detection_24k.py',
    '../../_base_/runtime/detection_iterations.py',
]

# detectron2's schedule from memory, with the detector of COCO. batch = 8 GPUs * 1 = 8
classes = dict(num_classes=8)
model = dict(roi_head=dict(bbox_head=classes, mask_head=classes))
optim_wrapper = dict(optimizer=dict(lr=0.01))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=1000),
    dict(type='MultiStepLR', by_epoch=False, milestones=[18_000], gamma=0.1),
]
# Instances as COCO JSON, as cityscapesscripts and mmdet's converter write it. The short side is
# sampled from 800 to 1024.
data_root = 'data/cityscapes/'
train_dataloader = dict(
    batch_size=1,
    sampler=dict(type='mmmask.ResumableInfiniteSampler'),
    batch_sampler=None,
    dataset=dict(
        type='mmdet.CityscapesDataset',
        data_root=data_root,
        ann_file='annotations/instancesonly_filtered_gtFine_train.json',
        data_prefix=dict(img='leftImg8bit/train/'),
        pipeline=[
            *_base_.load,
            dict(
                type='RandomChoiceResize',
                scales=[(2048, side) for side in range(800, 1025, 32)],
                keep_ratio=True,
            ),
            _base_.flip,
            _base_.pack,
        ],
    ),
)
val_annotations = 'annotations/instancesonly_filtered_gtFine_val.json'
val_dataloader = dict(
    dataset=dict(
        type='mmdet.CityscapesDataset',
        data_root=data_root,
        ann_file=val_annotations,
        data_prefix=dict(img='leftImg8bit/val/'),
        pipeline=[
            _base_.load[0],
            dict(_base_.resize, scale=(2048, 1024)),
            _base_.load[1],
            _base_.pack_for_test,
        ],
    )
)
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + val_annotations)
test_evaluator = val_evaluator
default_hooks = dict(checkpoint=dict(interval=4_000, save_best='coco/segm_mAP'))

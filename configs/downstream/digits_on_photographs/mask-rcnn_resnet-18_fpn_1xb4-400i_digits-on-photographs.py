_base_ = [
    '../../_base_/models/mask-rcnn_r50_fpn.py',
    '../../_base_/datasets/coco_instance.py',
    '../../_base_/schedules/small.py',
    '../../_base_/runtime/detection_iterations.py',
]

# Heads of 64 channels that process few proposals; norms of one process. The backbone is that of
# configs/demo/ladder, ResNet-18 of a quarter of the width with a 3x3 stem: its third and fourth
# stages have strides 4 and 8, and the pyramid continues from there.
norm_cfg = dict(type='BN', requires_grad=True)
channels = 64
region_extractor = dict(out_channels=channels)
head = dict(in_channels=channels, num_classes=10, norm_cfg=None)
model = dict(
    backbone=dict(
        type='mmpretrain.ResNet_CIFAR',
        depth=18,
        base_channels=16,
        stem_channels=16,
        out_indices=(2, 3),
        norm_cfg=norm_cfg,
    ),
    neck=dict(in_channels=[64, 128], out_channels=channels, norm_cfg=norm_cfg),
    rpn_head=dict(
        in_channels=channels,
        feat_channels=channels,
        anchor_generator=dict(scales=[4]),  # 16 px on the finest level
    ),
    roi_head=dict(
        bbox_roi_extractor=region_extractor,
        bbox_head=dict(head, type='mmdet.Shared2FCBBoxHead', fc_out_channels=256),
        mask_roi_extractor=region_extractor,
        mask_head=dict(head, num_convs=2, conv_out_channels=channels),
    ),
    train_cfg=dict(
        rpn=dict(sampler=dict(num=128)),
        rpn_proposal=dict(nms_pre=200, max_per_img=100),
        rcnn=dict(sampler=dict(num=64)),
    ),
    test_cfg=dict(rpn=dict(nms_pre=200, max_per_img=100), rcnn=dict(max_per_img=30)),
)

# tools/make_digits_on_photographs.py data/digits-on-photographs --train 1000 --val 200
data_root = 'data/digits-on-photographs/'
images = dict(data_root=data_root, metainfo=dict(classes=tuple('0123456789')))
train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    sampler=dict(type='mmmask.ResumableInfiniteSampler'),
    batch_sampler=None,
    dataset=dict(
        images,
        ann_file='annotations/instances_train.json',
        data_prefix=dict(img='train/'),
        filter_cfg=dict(filter_empty_gt=True, min_size=8),
        pipeline=[
            *_base_.load,
            dict(type='mmdet.PackDetInputs'),  # a flipped digit is no digit
        ],
    ),
)
val_dataloader = dict(
    batch_size=4,
    num_workers=0,
    dataset=dict(
        images,
        ann_file='annotations/instances_val.json',
        data_prefix=dict(img='val/'),
        pipeline=[
            _base_.load[0],
            dict(type='mmdet.Resize', scale_factor=1.0),  # heads need the scale of the image
            _base_.load[1],
            _base_.pack_for_test,
        ],
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + 'annotations/instances_val.json')
test_evaluator = val_evaluator

default_hooks = dict(logger=dict(interval=25), checkpoint=dict(interval=400, save_best=None))

# Heads of 64 channels that process few proposals; norms of one process. The backbone is that of
# configs/demo/ladder, ResNet-18 of a quarter of the width with a 3x3 stem: its third and fourth
# stages have strides 4 and 8, and the pyramid continues from there.
_base_ = 'mask-rcnn_r50_fpn.py'

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

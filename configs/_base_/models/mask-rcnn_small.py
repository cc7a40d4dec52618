_base_ = 'mask-rcnn_r50_fpn.py'

# Heads of 64 channels that look at few proposals; norms of one process. The network of
# configs/demo/ladder, ResNet-18 of a quarter of the width with a 3x3 stem: its third and fourth
# stages have strides 4 and 8, and the pyramid goes on from there.
norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    backbone=dict(
        type='mmpretrain.ResNet_CIFAR',
        depth=18,
        base_channels=16,
        stem_channels=16,
        out_indices=(2, 3),
        norm_cfg=norm_cfg,
    ),
    neck=dict(in_channels=[64, 128], out_channels=64, norm_cfg=norm_cfg),
    rpn_head=dict(
        in_channels=64,
        feat_channels=64,
        anchor_generator=dict(scales=[4]),  # 16 px on the finest level
    ),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=64),
        bbox_head=dict(
            type='mmdet.Shared2FCBBoxHead',
            in_channels=64,
            fc_out_channels=256,
            num_classes=10,
            norm_cfg=None,
        ),
        mask_roi_extractor=dict(out_channels=64),
        mask_head=dict(
            num_convs=2, in_channels=64, conv_out_channels=64, num_classes=10, norm_cfg=None
        ),
    ),
    train_cfg=dict(
        rpn=dict(sampler=dict(num=128)),
        rpn_proposal=dict(nms_pre=200, max_per_img=100),
        rcnn=dict(sampler=dict(num=64)),
    ),
    test_cfg=dict(rpn=dict(nms_pre=200, max_per_img=100), rcnn=dict(max_per_img=30)),
)

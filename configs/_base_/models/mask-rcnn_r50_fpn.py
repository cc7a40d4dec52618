# Mask R-CNN with synchronised norms everywhere and four convolutions in the box head, with which
# self-supervised ResNets are compared.
norm_cfg = dict(type='SyncBN', requires_grad=True)
channels = 256
region_extractor = dict(
    type='mmdet.SingleRoIExtractor', out_channels=channels, featmap_strides=[4, 8, 16, 32]
)
bbox_coder = dict(
    type='mmdet.DeltaXYWHBBoxCoder',
    target_means=[0.0, 0.0, 0.0, 0.0],
    target_stds=[0.1, 0.1, 0.2, 0.2],
)
proposal_nms = dict(nms=dict(type='nms', iou_threshold=0.7), min_bbox_size=0)
assigner = dict(type='mmdet.MaxIoUAssigner', match_low_quality=True, ignore_iof_thr=-1)
model = dict(
    type='mmdet.MaskRCNN',
    data_preprocessor=dict(
        type='mmdet.DetDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_mask=True,
        pad_size_divisor=32,
    ),
    backbone=dict(
        type='mmpretrain.ResNet',
        depth=50,
        out_indices=(0, 1, 2, 3),
        frozen_stages=-1,
        norm_cfg=norm_cfg,
        norm_eval=False,
    ),
    neck=dict(
        type='mmdet.FPN',
        in_channels=[256, 512, 1024, 2048],
        out_channels=channels,
        num_outs=5,
        norm_cfg=norm_cfg,
    ),
    rpn_head=dict(
        type='mmdet.RPNHead',
        in_channels=channels,
        feat_channels=channels,
        anchor_generator=dict(
            type='mmdet.AnchorGenerator',
            scales=[8],
            ratios=[0.5, 1.0, 2.0],
            strides=[4, 8, 16, 32, 64],
        ),
        bbox_coder=dict(type='mmdet.DeltaXYWHBBoxCoder'),
        loss_cls=dict(type='mmdet.CrossEntropyLoss', use_sigmoid=True),
        loss_bbox=dict(type='mmdet.L1Loss'),
    ),
    roi_head=dict(
        type='mmdet.StandardRoIHead',
        bbox_roi_extractor=dict(
            region_extractor, roi_layer=dict(type='RoIAlign', output_size=7, sampling_ratio=0)
        ),
        bbox_head=dict(
            type='mmdet.Shared4Conv1FCBBoxHead',
            in_channels=channels,
            fc_out_channels=1024,
            roi_feat_size=7,
            num_classes=80,
            norm_cfg=norm_cfg,
            bbox_coder=bbox_coder,
            reg_class_agnostic=False,
            loss_cls=dict(type='mmdet.CrossEntropyLoss'),
            loss_bbox=dict(type='mmdet.L1Loss'),
        ),
        mask_roi_extractor=dict(
            region_extractor, roi_layer=dict(type='RoIAlign', output_size=14, sampling_ratio=0)
        ),
        mask_head=dict(
            type='mmdet.FCNMaskHead',
            num_convs=4,
            in_channels=channels,
            conv_out_channels=channels,
            num_classes=80,
            norm_cfg=norm_cfg,
            loss_mask=dict(type='mmdet.CrossEntropyLoss', use_mask=True),
        ),
    ),
    train_cfg=dict(
        rpn=dict(
            assigner=dict(assigner, pos_iou_thr=0.7, neg_iou_thr=0.3, min_pos_iou=0.3),
            sampler=dict(
                type='mmdet.RandomSampler',
                num=256,
                pos_fraction=0.5,
                neg_pos_ub=-1,
                add_gt_as_proposals=False,
            ),
            allowed_border=-1,
            pos_weight=-1,
            debug=False,
        ),
        rpn_proposal=dict(proposal_nms, nms_pre=2000, max_per_img=1000),
        rcnn=dict(
            assigner=dict(assigner, pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0.5),
            sampler=dict(
                type='mmdet.RandomSampler',
                num=512,
                pos_fraction=0.25,
                neg_pos_ub=-1,
                add_gt_as_proposals=True,
            ),
            mask_size=28,
            pos_weight=-1,
            debug=False,
        ),
    ),
    test_cfg=dict(
        rpn=dict(proposal_nms, nms_pre=1000, max_per_img=1000),
        rcnn=dict(
            score_thr=0.05,
            nms=dict(type='nms', iou_threshold=0.5),
            max_per_img=100,
            mask_thr_binary=0.5,
        ),
    ),
)

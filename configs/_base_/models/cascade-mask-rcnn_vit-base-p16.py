_base_ = 'mask-rcnn_vit-base-p16.py'

# Three box heads at IoU 0.5, 0.6 and 0.7, with box weights (10, 5), (20, 10) and (30, 15).
stages = [
    dict(
        assigner=dict(
            type='mmdet.MaxIoUAssigner',
            pos_iou_thr=overlap,
            neg_iou_thr=overlap,
            min_pos_iou=overlap,
            match_low_quality=False,
            ignore_iof_thr=-1,
        ),
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
    )
    for overlap in (0.5, 0.6, 0.7)
]
heads = [
    dict(
        type='mmdet.Shared4Conv1FCBBoxHead',
        in_channels=256,
        fc_out_channels=1024,
        roi_feat_size=7,
        num_classes=80,
        norm_cfg=dict(type='mmpretrain.LN2d', eps=1e-6),
        bbox_coder=dict(
            type='mmdet.DeltaXYWHBBoxCoder',
            target_means=[0.0, 0.0, 0.0, 0.0],
            target_stds=[1 / weight, 1 / weight, 2 / weight, 2 / weight],
        ),
        reg_class_agnostic=True,
        loss_cls=dict(type='mmdet.CrossEntropyLoss'),
        loss_bbox=dict(type='mmdet.L1Loss'),
    )
    for weight in (10, 20, 30)
]
model = dict(
    type='mmdet.CascadeRCNN',
    roi_head=dict(
        type='mmdet.CascadeRoIHead',
        num_stages=3,
        stage_loss_weights=[1, 0.5, 0.25],
        bbox_head=heads,
    ),
    train_cfg=dict(rcnn=stages),
)

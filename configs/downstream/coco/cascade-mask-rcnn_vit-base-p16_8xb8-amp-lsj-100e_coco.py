_base_ = 'mask-rcnn_vit-base-p16_8xb8-amp-lsj-100e_coco.py'

# ViTDet's cascade: three box heads at IoU 0.5, 0.6 and 0.7, with box weights (10, 5), (20, 10) and
# (30, 15).
box_head = _base_.model.roi_head.bbox_head
regions = _base_.model.train_cfg.rcnn
model = dict(
    type='mmdet.CascadeRCNN',
    roi_head=dict(
        type='mmdet.CascadeRoIHead',
        num_stages=3,
        stage_loss_weights=[1, 0.5, 0.25],
        bbox_head=[
            dict(
                box_head,
                bbox_coder=dict(
                    box_head.bbox_coder,
                    target_stds=[1 / weight, 1 / weight, 2 / weight, 2 / weight],
                ),
                reg_class_agnostic=True,
            )
            for weight in (10, 20, 30)
        ],
    ),
    train_cfg=dict(
        rcnn=[
            dict(
                regions,
                assigner=dict(
                    regions.assigner,
                    pos_iou_thr=overlap,
                    neg_iou_thr=overlap,
                    min_pos_iou=overlap,
                    match_low_quality=False,
                ),
            )
            for overlap in (0.5, 0.6, 0.7)
        ]
    ),
)

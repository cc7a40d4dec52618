_base_ = [
    '../../_base_/models/mask-rcnn_r50_fpn.py',
    '../../_base_/datasets/coco_instance.py',
    '../../_base_/schedules/detection_1x.py',
    '../../_base_/runtime/detection.py',
]

# mmdet's Mask R-CNN for Swin: no norms in the heads, two linear layers in the box head.
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmpretrain.SwinTransformer',
        arch='base',
        img_size=224,
        window_size=7,
        drop_path_rate=0.3,
        out_indices=(0, 1, 2, 3),
        pad_small_map=True,
    ),
    neck=dict(in_channels=[128, 256, 512, 1024], norm_cfg=None),
    roi_head=dict(
        bbox_head=dict(type='mmdet.Shared2FCBBoxHead', norm_cfg=None),
        mask_head=dict(norm_cfg=None),
    ),
)
# Norms and position tables have no weight decay. batch = 8 GPUs * 2 = 16
no_decay = dict(decay_mult=0.0)
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(
        custom_keys={
            'absolute_pos_embed': no_decay,
            'relative_position_bias_table': no_decay,
            'norm': no_decay,
        }
    ),
)
param_scheduler = [dict(_base_.param_scheduler[0], end=1000), _base_.param_scheduler[1]]

_base_ = [
    '../../_base_/models/mask-rcnn_swin-base_fpn.py',
    '../../_base_/datasets/coco_instance.py',
    '../../_base_/schedules/detection_1x.py',
    '../../_base_/runtime/detection.py',
]

# Norms and position tables do not decay. batch = 8 GPUs * 2 = 16
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(
        custom_keys={
            'absolute_pos_embed': dict(decay_mult=0.0),
            'relative_position_bias_table': dict(decay_mult=0.0),
            'norm': dict(decay_mult=0.0),
        }
    ),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=1000),
    dict(type='MultiStepLR', by_epoch=True, milestones=[8, 11], gamma=0.1),
]

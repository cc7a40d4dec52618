_base_ = [
    '../../_base_/models/upernet_swin-base.py',
    '../../_base_/datasets/ade20k.py',
    '../../_base_/schedules/segmentation_160k.py',
    '../../_base_/runtime/segmentation.py',
]

# Norms and position tables do not decay. batch = 8 GPUs * 2 = 16
optim_wrapper = dict(
    optimizer=dict(lr=6e-5, weight_decay=0.01),
    paramwise_cfg=dict(
        custom_keys={
            'absolute_pos_embed': dict(decay_mult=0.0),
            'relative_position_bias_table': dict(decay_mult=0.0),
            'norm': dict(decay_mult=0.0),
        }
    ),
)

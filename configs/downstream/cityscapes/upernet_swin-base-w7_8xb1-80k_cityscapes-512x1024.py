_base_ = [
    '../../_base_/models/upernet_swin-base.py',
    '../../_base_/datasets/cityscapes.py',
    '../../_base_/schedules/segmentation_80k.py',
    '../../_base_/runtime/segmentation.py',
]

# batch = 8 GPUs * 1 = 8
model = dict(
    data_preprocessor=dict(size=(512, 1024)),
    decode_head=dict(num_classes=19),
    auxiliary_head=dict(num_classes=19),
)
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
default_hooks = dict(checkpoint=dict(interval=8_000))

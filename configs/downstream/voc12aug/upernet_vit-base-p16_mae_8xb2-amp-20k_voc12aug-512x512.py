_base_ = [
    '../../_base_/models/upernet_vit-base-p16_mae.py',
    '../../_base_/datasets/voc12aug.py',
    '../../_base_/schedules/segmentation_20k.py',
    '../../_base_/runtime/segmentation.py',
]

# batch = 8 GPUs * 2 = 16
model = dict(decode_head=dict(num_classes=21), auxiliary_head=dict(num_classes=21))
optim_wrapper = dict(
    constructor='mmmask.LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(layer_decay_rate=0.65),
)
default_hooks = dict(checkpoint=dict(interval=2_000))

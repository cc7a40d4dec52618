_base_ = [
    '../../_base_/models/upernet_vit-base-p16_localmim.py',
    '../../_base_/datasets/ade20k.py',
    '../../_base_/schedules/segmentation_160k.py',
    '../../_base_/runtime/segmentation.py',
]

# tools/train.py ... --pretrained CHECKPOINT; batch = 8 GPUs * 2 = 16
optim_wrapper = dict(
    optimizer=dict(lr=4e-4),
    constructor='mmmask.LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(layer_decay_rate=0.65),
)

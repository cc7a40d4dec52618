_base_ = [
    '../../_base_/models/upernet_vit-base-p16_localmim.py',
    '../../_base_/datasets/voc12aug.py',
    '../../_base_/schedules/segmentation_160k.py',
    '../../_base_/runtime/segmentation.py',
]

# batch = 8 GPUs * 2 = 16
model = dict(decode_head=dict(num_classes=21), auxiliary_head=dict(num_classes=21))
optim_wrapper = dict(
    optimizer=dict(lr=4e-4),
    constructor='mmmask.LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(layer_decay_rate=0.65),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, by_epoch=False, begin=0, end=1500),
    dict(type='PolyLR', eta_min=0.0, power=1.0, by_epoch=False, begin=1500, end=20_000),
]
train_cfg = dict(max_iters=20_000, val_interval=2_000)
default_hooks = dict(checkpoint=dict(interval=2_000))

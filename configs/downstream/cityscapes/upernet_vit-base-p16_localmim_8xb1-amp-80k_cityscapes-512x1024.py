_base_ = [
    '../../_base_/models/upernet_vit-base-p16_localmim.py',
    '../../_base_/datasets/cityscapes.py',
    '../../_base_/schedules/segmentation_80k.py',
    '../../_base_/runtime/segmentation.py',
]

# batch = 8 GPUs * 1 = 8
model = dict(
    data_preprocessor=dict(size=(512, 1024)),
    backbone=dict(img_size=(512, 1024)),
    decode_head=dict(num_classes=19),
    auxiliary_head=dict(num_classes=19),
    test_cfg=dict(crop_size=(512, 1024), stride=(341, 683)),
)
optim_wrapper = dict(
    optimizer=dict(lr=4e-4),
    constructor='mmmask.LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(layer_decay_rate=0.65),
)
default_hooks = dict(checkpoint=dict(interval=8_000))

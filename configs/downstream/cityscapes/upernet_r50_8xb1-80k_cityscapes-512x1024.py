_base_ = [
    '../../_base_/models/upernet_r50.py',
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
    optimizer=dict(_delete_=True, type='SGD', lr=0.01, momentum=0.9, weight_decay=5e-4)
)
param_scheduler = [
    dict(type='PolyLR', eta_min=1e-4, power=0.9, by_epoch=False, begin=0, end=80_000)
]
default_hooks = dict(checkpoint=dict(interval=8_000))

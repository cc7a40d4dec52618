_base_ = [
    '../../_base_/models/upernet_r50.py',
    '../../_base_/datasets/voc12aug.py',
    '../../_base_/schedules/segmentation_20k.py',
    '../../_base_/runtime/segmentation.py',
]

# batch = 8 GPUs * 2 = 16
model = dict(decode_head=dict(num_classes=21), auxiliary_head=dict(num_classes=21))
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='SGD', lr=0.01, momentum=0.9, weight_decay=5e-4)
)
param_scheduler = [
    dict(type='PolyLR', eta_min=1e-4, power=0.9, by_epoch=False, begin=0, end=20_000)
]
default_hooks = dict(checkpoint=dict(interval=2_000))

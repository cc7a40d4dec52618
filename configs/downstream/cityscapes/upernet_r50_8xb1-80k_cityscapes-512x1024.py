_base_ = [
    '../../_base_/models/upernet_r50.py',
    '../../_base_/datasets/cityscapes.py',
    '../../_base_/schedules/segmentation_80k.py',
]

# batch = 8 GPUs * 1 = 8
classes = dict(num_classes=19)
model = dict(data_preprocessor=dict(size=(512, 1024)), decode_head=classes, auxiliary_head=classes)
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=5e-4)
)
param_scheduler = [
    dict(type='PolyLR', eta_min=1e-4, power=0.9, by_epoch=False, end=_base_.max_iters)
]

_base_ = [
    '../../_base_/models/upernet_vit-tiny-p8.py',
    '../../_base_/datasets/nuclei_semantic.py',
    '../../_base_/schedules/small.py',
    '../../_base_/runtime/segmentation.py',
]

model = dict(test_cfg=dict(mode='slide', crop_size=(128, 128), stride=(96, 96)))
default_hooks = dict(logger=dict(interval=25), checkpoint=dict(interval=400, save_best=None))

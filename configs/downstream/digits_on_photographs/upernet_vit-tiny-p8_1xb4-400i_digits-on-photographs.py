_base_ = [
    '../../_base_/models/upernet_vit-tiny-p8.py',
    '../../_base_/datasets/digits-on-photographs_semantic.py',
    '../../_base_/schedules/small.py',
    '../../_base_/runtime/segmentation.py',
]

default_hooks = dict(logger=dict(interval=25), checkpoint=dict(interval=400, save_best=None))

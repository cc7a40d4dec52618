_base_ = [
    '../../_base_/models/mask-rcnn_vit-tiny-p8.py',
    '../../_base_/datasets/digits-on-photographs_instance.py',
    '../../_base_/schedules/small.py',
    '../../_base_/runtime/detection_iterations.py',
]

default_hooks = dict(logger=dict(interval=25), checkpoint=dict(interval=400, save_best=None))

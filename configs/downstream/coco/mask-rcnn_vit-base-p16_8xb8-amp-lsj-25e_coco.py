_base_ = 'mask-rcnn_vit-base-p16_8xb8-amp-lsj-100e_coco.py'

# The rate falls at the same fractions of the length.
param_scheduler = [
    _base_.param_scheduler[0],
    dict(_base_.param_scheduler[1], milestones=[40_972, 44_387]),
]
train_cfg = dict(max_iters=46_094, val_interval=4_610)
default_hooks = dict(checkpoint=dict(interval=2_305))

_base_ = 'mask-rcnn_vit-base-p16_8xb8-amp-lsj-100e_coco.py'

# The rate falls at the same shares of the length.
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=250),
    dict(type='MultiStepLR', by_epoch=False, milestones=[40_972, 44_387], gamma=0.1),
]
train_cfg = dict(max_iters=46_094, val_interval=4_610)
default_hooks = dict(checkpoint=dict(interval=2_305))

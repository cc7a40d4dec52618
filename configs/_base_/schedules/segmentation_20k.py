_base_ = 'segmentation_160k.py'

max_iters = 20_000
param_scheduler = [_base_.param_scheduler[0], dict(_base_.param_scheduler[1], end=max_iters)]
train_cfg = dict(max_iters=max_iters, val_interval=2_000)
default_hooks = dict(checkpoint=dict(interval=2_000))

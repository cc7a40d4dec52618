_base_ = '../runtime/segmentation.py'

max_iters = 160_000
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, by_epoch=False, begin=0, end=1500),
    dict(type='PolyLR', eta_min=0.0, power=1.0, by_epoch=False, begin=1500, end=max_iters),
]
train_cfg = dict(type='mmmask.ResumableIterTrainLoop', max_iters=max_iters, val_interval=16_000)
default_hooks = dict(checkpoint=dict(interval=16_000))

_base_ = 'segmentation_160k.py'

param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, by_epoch=False, begin=0, end=1500),
    dict(type='PolyLR', eta_min=0.0, power=1.0, by_epoch=False, begin=1500, end=80_000),
]
train_cfg = dict(max_iters=80_000, val_interval=8_000)

_base_ = 'upernet_r50_8xb2-20k_voc12aug-512x512.py'

param_scheduler = [
    dict(type='PolyLR', eta_min=1e-4, power=0.9, by_epoch=False, begin=0, end=40_000)
]
train_cfg = dict(max_iters=40_000, val_interval=4_000)
default_hooks = dict(checkpoint=dict(interval=4_000))

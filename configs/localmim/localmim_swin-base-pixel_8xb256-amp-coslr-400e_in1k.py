_base_ = 'localmim_swin-base-pixel_8xb256-amp-coslr-100e_in1k.py'

param_scheduler = dict(warmup_epochs=40)
train_cfg = dict(max_epochs=400)
default_hooks = dict(checkpoint=dict(interval=10))

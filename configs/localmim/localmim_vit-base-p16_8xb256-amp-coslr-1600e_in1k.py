_base_ = 'localmim_vit-base-p16_8xb256-amp-coslr-100e_in1k.py'

param_scheduler = dict(warmup_epochs=40)
train_cfg = dict(max_epochs=1600)
default_hooks = dict(checkpoint=dict(interval=10))

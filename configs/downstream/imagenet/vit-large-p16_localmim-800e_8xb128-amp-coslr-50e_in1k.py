_base_ = 'vit-base-p16_localmim-1600e_8xb128-amp-coslr-100e_in1k.py'

# From 800 epochs of LocalMIM.
model = dict(backbone=dict(arch='large', drop_path_rate=0.2), head=dict(in_channels=1024))
optim_wrapper = dict(optimizer=dict(lr=3e-3), paramwise_cfg=dict(layer_decay_rate=0.75))
param_scheduler = dict(warmup_epochs=5, eta_min=1e-6)
train_cfg = dict(max_epochs=50)

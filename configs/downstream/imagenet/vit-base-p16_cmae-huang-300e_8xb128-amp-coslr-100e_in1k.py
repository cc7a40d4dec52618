_base_ = 'vit-base-p16_localmim-1600e_8xb128-amp-coslr-100e_in1k.py'

# From 300 epochs of the CMAE of Huang et al. lr = 5e-4 * (8 GPUs * 128) / 256 = 2e-3
optim_wrapper = dict(optimizer=dict(lr=2e-3), paramwise_cfg=dict(layer_decay_rate=0.65))
param_scheduler = dict(warmup_epochs=5, eta_min=1e-6)

_base_ = 'vit-base-p16_cmae-huang-300e_8xb128-amp-coslr-100e_in1k.py'

# From 1600 epochs of the CMAE of Huang et al. lr = 2.5e-4 * (8 GPUs * 128) / 256 = 1e-3
optim_wrapper = dict(optimizer=dict(lr=1e-3))

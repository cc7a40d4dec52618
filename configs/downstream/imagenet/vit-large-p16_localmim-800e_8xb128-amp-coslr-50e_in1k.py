_base_ = 'vit-large-p16_finetune_8xb128-amp-coslr-50e_in1k.py'

# From 800 epochs of LocalMIM.
optim_wrapper = dict(optimizer=dict(lr=3e-3))

_base_ = 'vit-base-p16_finetune_8xb128-amp-coslr-100e_in1k.py'

# From 100 epochs of LocalMIM; the recipe of the longer pre-training loses accuracy here.
optim_wrapper = dict(optimizer=dict(lr=4e-3), paramwise_cfg=dict(layer_decay_rate=0.75))
param_scheduler = dict(warmup_epochs=20)

_base_ = 'vit-base-p16_finetune_8xb128-amp-coslr-100e_in1k.py'

# From 1600 epochs of LocalMIM. batch = 8 GPUs * 128 = 1024; the rate is not scaled with it
param_scheduler = dict(warmup_epochs=20, eta_min=1e-5)

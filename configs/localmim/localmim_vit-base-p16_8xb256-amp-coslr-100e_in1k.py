_base_ = [
    '../_base_/models/localmim_vit-base-p16.py',
    '../_base_/datasets/imagenet_mim.py',
    '../_base_/schedules/adamw_coslr.py',
    '../_base_/runtime/default.py',
]

# peak lr = 2e-4 * (8 GPUs * 256) / 256 = 1.6e-3
optim_wrapper = dict(optimizer=dict(lr=2e-4))
param_scheduler = dict(warmup_epochs=10, eta_min=1e-6)
train_cfg = dict(max_epochs=100)

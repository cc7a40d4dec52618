_base_ = [
    '../_base_/models/features-clip_vit-base-p16.py',
    '../_base_/datasets/imagenet_mim.py',
    '../_base_/schedules/adamw_coslr.py',
    '../_base_/runtime/default.py',
]

# peak lr = 1.875e-4 * (8 GPUs * 256) / 256 = 1.5e-3
train_dataloader = dict(batch_size=256)
optim_wrapper = dict(optimizer=dict(lr=1.875e-4, betas=(0.9, 0.98)), clip_grad=dict(max_norm=3.0))
param_scheduler = dict(warmup_epochs=10, eta_min=1e-5)

_base_ = [
    '../_base_/models/mae_vit-base-p16.py',
    '../_base_/datasets/imagenet_mim.py',
    '../_base_/schedules/adamw_coslr.py',
    '../_base_/runtime/default.py',
]

# 20 of 49 blocks of 2 x 2 patches are hidden, and go through the encoder as mask tokens.
model = dict(
    type='mmmask.SimMIM',
    backbone=dict(drop_path_rate=0.1),
    masking=dict(_delete_=True, type='mmmask.BlockMask', ratio=20 / 49, block_size=2),
    neck=dict(_delete_=True, type='mmmask.LinearDecoder'),
    target_generator=dict(
        _delete_=True, type='mmmask.FeatureTarget', name='vit_base_patch16_clip_224.openai'
    ),
)

# peak lr = 1.875e-4 * (8 GPUs * 256) / 256 = 1.5e-3
train_dataloader = dict(batch_size=256)
optim_wrapper = dict(optimizer=dict(lr=1.875e-4, betas=(0.9, 0.98)), clip_grad=dict(max_norm=3.0))
param_scheduler = dict(warmup_epochs=10, eta_min=1e-5)

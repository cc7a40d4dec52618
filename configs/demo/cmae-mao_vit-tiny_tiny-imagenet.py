_base_ = [
    '../_base_/models/cmae-mao_vit-base-p16.py',
    '../_base_/datasets/tiny_imagenet_two_views.py',
    '../_base_/schedules/adamw_coslr.py',
    '../_base_/runtime/default.py',
]

# A small native64 preset of CMAE (Mao et al.): minutes on one CPU core with a sixth of 25,000
# photographs.
batch_norm = dict(type='BN1d')
model = dict(
    backbone=dict(
        arch=dict(
            _delete_=True, embed_dims=128, num_layers=6, num_heads=4, feedforward_channels=512
        ),
        img_size=64,
        patch_size=8,
    ),
    neck=dict(embed_dims=32, num_heads=4),
    projector=dict(hid_channels=256, out_channels=64, norm_cfg=batch_norm),
    contrast_head=dict(predictor=dict(hid_channels=256, norm_cfg=batch_norm)),
    momentum=0.99,  # a half-life of one epoch
)

# peak lr = 6e-3 * 64 / 256 = 1.5e-3
train_dataloader = dict(
    batch_size=64, num_workers=1, dataset=dict(indices=list(range(0, 25000, 6)))
)
optim_wrapper = dict(optimizer=dict(lr=6e-3))
param_scheduler = dict(warmup_epochs=1)
train_cfg = dict(max_epochs=5)
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=5))
custom_hooks = [
    dict(type='mmmask.RefreshCropsHook', warmup=2, interval=2),
    dict(type='mmmask.MomentumUpdateHook'),
    dict(type='mmmask.NonFiniteLossHook'),
    dict(type='mmmask.ReconstructionHook', interval=2, dataset=_base_.labelled_val),
]

_base_ = [
    '../_base_/models/mae_vit-base-p16.py',
    '../_base_/datasets/tiny_imagenet_mim.py',
    '../_base_/schedules/adamw_coslr.py',
    '../_base_/runtime/default.py',
]

# DeiT-Ti at patch 8: 64 patches, of which 16 are visible.
model = dict(
    backbone=dict(
        arch=dict(
            _delete_=True, embed_dims=192, num_layers=12, num_heads=3, feedforward_channels=768
        ),
        img_size=64,
        patch_size=8,
    ),
    neck=dict(embed_dims=128, depth=2, num_heads=4),
)

optim_wrapper = dict(optimizer=dict(lr=1e-3))
param_scheduler = dict(warmup_epochs=10)
train_cfg = dict(max_epochs=200)

custom_hooks = [
    dict(type='mmmask.NonFiniteLossHook'),
    dict(
        type='mmmask.OnlineKNNHook',
        interval=10,
        bank=_base_.labelled_train,
        query=_base_.labelled_val,
    ),
    dict(type='mmmask.ReconstructionHook', interval=50, dataset=_base_.labelled_val),
]

_base_ = [
    '../_base_/models/mae_vit-base-p16.py',
    '../_base_/datasets/digits_mim.py',
    '../_base_/schedules/adamw_coslr.py',
    '../_base_/runtime/default.py',
]

# The baseline of the demo.
model = dict(
    backbone=dict(
        arch=dict(
            _delete_=True, embed_dims=128, num_layers=6, num_heads=4, feedforward_channels=512
        ),
        img_size=64,
        patch_size=8,
    ),
    neck=dict(embed_dims=64, depth=2, num_heads=4),
)

# peak lr = 3e-3 * 128 / 256 = 1.5e-3
optim_wrapper = dict(optimizer=dict(lr=3e-3))
param_scheduler = dict(warmup_epochs=2)
train_cfg = dict(max_epochs=20)
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=5))

custom_hooks = [
    dict(type='mmmask.NonFiniteLossHook'),
    dict(
        type='mmmask.OnlineKNNHook',
        interval=5,
        bank=_base_.labelled_train,
        query=_base_.labelled_val,
    ),
    dict(type='mmmask.ReconstructionHook', interval=5, dataset=_base_.labelled_val),
]

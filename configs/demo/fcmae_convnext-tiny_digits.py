_base_ = [
    '../_base_/models/fcmae_convnext-base.py',
    '../_base_/datasets/digits_mim.py',
    '../_base_/schedules/adamw_coslr.py',
    '../_base_/runtime/default.py',
]

# Three stages of width 32 to 128: units of 8 px, of which 25 of 64 are visible.
model = dict(
    backbone=dict(
        arch=dict(_delete_=True, depths=[1, 1, 3], channels=[32, 64, 128]),
        stem_patch_size=2,
        out_indices=(2,),
    ),
    neck=dict(embed_dims=64),
)

# peak lr = 3e-3 * 64 / 256 = 7.5e-4
train_dataloader = dict(batch_size=64, num_workers=1)
optim_wrapper = dict(optimizer=dict(lr=3e-3), paramwise_cfg=dict(no_decay=('mask_token', 'grn')))
param_scheduler = dict(warmup_epochs=1)
train_cfg = dict(max_epochs=12)
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=4))

custom_hooks = [
    dict(type='mmmask.NonFiniteLossHook'),
    dict(type='mmmask.ChannelsLastHook'),
    dict(
        type='mmmask.OnlineKNNHook',
        interval=4,
        bank=_base_.labelled_train,
        query=_base_.labelled_val,
    ),
    dict(type='mmmask.ReconstructionHook', interval=4, dataset=_base_.labelled_val),
]

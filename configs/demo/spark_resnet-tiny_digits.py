_base_ = [
    '../_base_/models/spark_resnet-50.py',
    '../_base_/datasets/digits_mim.py',
    '../_base_/schedules/adamw_coslr.py',
    '../_base_/runtime/default.py',
]

# The first two stages of a ResNet-18 of half the width: units of 8 px, of which 25 of 64 are
# visible.
norm_cfg = dict(_delete_=True, type='BN')
model = dict(
    backbone=dict(
        depth=18,
        base_channels=32,
        stem_channels=32,
        num_stages=2,
        strides=(1, 2),
        dilations=(1, 1),
        out_indices=(0, 1),
        norm_cfg=norm_cfg,
    ),
    neck=dict(embed_dims=64, upsamplings=3, norm_cfg=norm_cfg),
)

# peak lr = 3e-3 * 64 / 256 = 7.5e-4
train_dataloader = dict(batch_size=64, num_workers=1)
optim_wrapper = dict(optimizer=dict(lr=3e-3), paramwise_cfg=dict(no_decay=('mask_token',)))
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

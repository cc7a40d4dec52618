_base_ = [
    '../_base_/models/maskdeep_resnet-50.py',
    '../_base_/datasets/digits_mim.py',
    '../_base_/schedules/adamw_coslr.py',
    '../_base_/runtime/momentum_targets.py',
]

# ResNet-18 of a quarter of the width. Visible in each of 2 groups: 16 of 8x8, 8 of 4x4 and 2 of 2x2
# positions.
model = dict(
    backbone=dict(
        depth=18, base_channels=16, stem_channels=16, norm_cfg=dict(_delete_=True, type='BN')
    ),
    masking=dict(ratios=(0.75, 0.5, 0.5), num_groups=2),
    neck=dict(embed_dims=64, num_heads=4, norm_cfg=dict(type='BN1d')),
    head=dict(hidden_channels=256, norm_cfg=dict(type='BN1d')),
)
# Flipped or half digits are not recognisable: there is no flip, and crops are large.
view = [
    dict(
        type='mmpretrain.RandomResizedCrop',
        scale=64,
        crop_ratio_range=(0.4, 1.0),
        backend='pillow',
        interpolation='bicubic',
    ),
    dict(type='mmpretrain.GaussianBlur', magnitude_range=(0.1, 2.0), magnitude_std='inf', prob=0.5),
]
train_dataloader = dict(
    batch_size=64,
    num_workers=1,
    dataset=dict(
        pipeline=[
            dict(type='mmpretrain.MultiView', num_views=[2], transforms=[view]),
            dict(type='mmpretrain.PackInputs'),
        ]
    ),
)
# peak lr = 4e-3 * 64 / 256 = 1e-3
optim_wrapper = dict(optimizer=dict(lr=4e-3), paramwise_cfg=dict(no_decay=('query', 'level_embed')))
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
]

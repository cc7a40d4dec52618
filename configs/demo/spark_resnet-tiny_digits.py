_base_ = ['../_base_/models/spark_resnet-50.py', '../_base_/runtime/demo_digits.py']

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
optim_wrapper = dict(optimizer=dict(lr=3e-3), paramwise_cfg=dict(no_decay=('mask_token',)))
custom_hooks = [
    _base_.custom_hooks[0],
    dict(type='mmmask.ChannelsLastHook'),
    *_base_.custom_hooks[1:],
]

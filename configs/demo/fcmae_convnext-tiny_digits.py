_base_ = ['../_base_/models/fcmae_convnext-base.py', '../_base_/runtime/demo_digits.py']

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
optim_wrapper = dict(optimizer=dict(lr=3e-3), paramwise_cfg=dict(no_decay=('mask_token', 'grn')))
custom_hooks = [
    _base_.custom_hooks[0],
    dict(type='mmmask.ChannelsLastHook'),
    *_base_.custom_hooks[1:],
]

_base_ = ['../_base_/models/cmae-huang_vit-base-p16.py', '../_base_/runtime/demo_digits.py']

# Two windows of one crop of each digit: one at the corner, one shifted by up to 7 px and with
# another brightness.
train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(_base_.crop, scale=72),
            dict(
                type='mmpretrain.MultiView',
                num_views=[1, 1],
                transforms=[
                    [dict(type='mmmask.ShiftedCrop', size=64)],
                    [
                        dict(type='mmmask.ShiftedCrop', size=64, max_shift=7),
                        _base_.brightness,
                        _base_.blur,
                    ],
                ],
            ),
            dict(type='mmpretrain.PackInputs'),
        ]
    ),
)

# Six blocks of width 128 on 64 patches of 8 px: 6 of 16 blocks of 2x2 patches are visible.
batch_norm = dict(type='BN1d')
model = dict(
    backbone=dict(
        arch=dict(
            _delete_=True, embed_dims=128, num_layers=6, num_heads=4, feedforward_channels=512
        ),
        img_size=64,
        patch_size=8,
    ),
    masking=dict(ratio=0.625),
    neck=dict(embed_dims=64, depth=2, num_heads=4),
    feature_decoder=dict(embed_dims=64, depth=1, num_heads=4),
    projector=dict(hid_channels=256, out_channels=64, norm_cfg=batch_norm),
    contrast_head=dict(predictor=dict(hid_channels=256, norm_cfg=batch_norm)),
    momentum=0.99,  # a half-life of one epoch
)

# peak lr = 6e-3 * 64 / 256 = 1.5e-3
optim_wrapper = dict(
    optimizer=dict(lr=6e-3), paramwise_cfg=dict(no_decay=('cls_token', 'mask_token'))
)
custom_hooks = [
    dict(type='mmmask.MomentumUpdateHook'),
    *_base_.custom_hooks,
]

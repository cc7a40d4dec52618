_base_ = ['../_base_/models/cmae-mao_vit-base-p16.py', '../_base_/runtime/demo_digits.py']

# Two views of each digit, the second brighter or darker.
crop = dict(_base_.crop, type='mmmask.ContrastiveCrop')
two_views = dict(
    type='mmpretrain.MultiView', num_views=[1, 1], transforms=[[crop], [crop, _base_.brightness]]
)
train_dataloader = dict(
    dataset=dict(pipeline=[two_views, dict(type='mmpretrain.PackInputs')]),
)

# Six blocks of width 128 on 64 patches of 8 px, of which 16 are visible.
batch_norm = dict(type='BN1d')
model = dict(
    backbone=dict(
        arch=dict(
            _delete_=True, embed_dims=128, num_layers=6, num_heads=4, feedforward_channels=512
        ),
        img_size=64,
        patch_size=8,
    ),
    neck=dict(embed_dims=64, num_heads=4),
    projector=dict(hid_channels=256, out_channels=64, norm_cfg=batch_norm),
    contrast_head=dict(predictor=dict(hid_channels=256, norm_cfg=batch_norm)),
    momentum=0.99,  # a half-life of one epoch
)

# peak lr = 6e-3 * 64 / 256 = 1.5e-3
optim_wrapper = dict(optimizer=dict(lr=6e-3))
custom_hooks = [
    dict(type='mmmask.RefreshCropsHook', warmup=4, interval=4),
    dict(type='mmmask.MomentumUpdateHook'),
    *_base_.custom_hooks,
]

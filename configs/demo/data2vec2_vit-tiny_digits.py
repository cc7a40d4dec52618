_base_ = ['../_base_/models/data2vec2_vit-base-p16.py', '../_base_/runtime/demo_digits.py']

# Six blocks of width 128 on 64 patches of 8 px, of which 16 are visible in each of 4 masks.
model = dict(
    backbone=dict(
        arch=dict(
            _delete_=True, embed_dims=128, num_layers=6, num_heads=4, feedforward_channels=512
        ),
        img_size=64,
        patch_size=8,
    ),
    masking=dict(ratio=0.75),
    neck=dict(embed_dims=64, depth=2),
    target_generator=dict(momentum=0.99, final_momentum=0.999, num_layers=4),
    num_masks=4,
)

# peak lr = 6e-3 * 64 / 256 = 1.5e-3
optim_wrapper = dict(
    optimizer=dict(lr=6e-3), paramwise_cfg=dict(no_decay=('cls_token', 'mask_token'))
)
# No pictures, because features are predicted.
custom_hooks = [dict(type='mmmask.MomentumUpdateHook'), *_base_.custom_hooks[:2]]

_base_ = ['../_base_/models/mae_vit-base-p16.py', '../_base_/runtime/tiny_imagenet.py']

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

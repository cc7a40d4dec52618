_base_ = ['../_base_/models/localmim_vit-base-p16.py', '../_base_/runtime/tiny_imagenet.py']

# DeiT-Ti at patch 8: 64 patches, of which 16 are visible.
model = dict(
    backbone=dict(
        arch=dict(
            _delete_=True, embed_dims=192, num_layers=12, num_heads=3, feedforward_channels=768
        ),
        img_size=64,
        patch_size=8,
        out_indices=[1, 3, 9, 11],
    ),
    neck=dict(
        decoders=[
            dict(type='mmmask.ScaleDecoder', embed_dims=128, num_heads=4, scale=scale)
            for scale in (4, 2, 1, 0.5)
        ]
    ),
    target_generator=dict(cell_sizes=(2, 4, 8, 16)),
)

# peak lr = 1e-3 * 256 / 256 = 1e-3: a small model on small images needs more than a ViT-B
optim_wrapper = dict(optimizer=dict(lr=1e-3))
param_scheduler = dict(eta_min=1e-6)

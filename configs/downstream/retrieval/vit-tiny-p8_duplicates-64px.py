_base_ = 'vit-base-p16_duplicates-320px.py'

# For the small ViT of configs/demo.
model = dict(
    backbone=dict(
        arch=dict(
            _delete_=True, embed_dims=128, num_layers=6, num_heads=4, feedforward_channels=512
        ),
        img_size=64,
        patch_size=8,
        out_indices=[1, 3, 5],
    )
)
pipeline = [
    dict(type='mmpretrain.Resize', scale=(64, 64), backend='pillow', interpolation='bicubic'),
    dict(type='mmpretrain.PackInputs'),
]
test_dataloader = dict(num_workers=2, dataset=dict(pipeline=pipeline))
test_cfg = dict(queries=dict(duplicates=dict(pipeline=pipeline)))

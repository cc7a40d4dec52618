_base_ = '../imagenet/vit-base-p16_knn_in1k.py'

# For configs/*/*_vit-tiny-p8_1xb256-amp-coslr-200e_tiny-imagenet-64px.py
source = 'data/tiny-imagenet.zip'
pipeline = [dict(type='mmpretrain.PackInputs')]
model = dict(
    backbone=dict(
        arch=dict(
            _delete_=True, embed_dims=192, num_layers=12, num_heads=3, feedforward_channels=768
        ),
        img_size=64,
        patch_size=8,
    )
)
test_dataloader = dict(num_workers=2, dataset=dict(source=source, prefix='val', pipeline=pipeline))
test_cfg = dict(bank=dict(source=source, prefix='train', pipeline=pipeline))

_base_ = '../folder/vit-base-p16_knn.py'

# For configs/*/*_vit-tiny-p8_1xb256-amp-coslr-200e_tiny-imagenet-64px.py
width = 192
model = dict(
    backbone=dict(
        arch=dict(
            _delete_=True,
            embed_dims=width,
            num_layers=12,
            num_heads=3,
            feedforward_channels=4 * width,
        ),
        img_size=64,
        patch_size=8,
    ),
)
images = dict(source='data/tiny-imagenet.zip', pipeline=[dict(type='mmpretrain.PackInputs')])
test_dataloader = dict(num_workers=2, dataset=images)
test_cfg = dict(bank=images)

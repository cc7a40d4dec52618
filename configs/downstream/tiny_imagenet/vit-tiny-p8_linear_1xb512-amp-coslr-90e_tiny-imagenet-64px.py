_base_ = '../imagenet/vit-base-p16_linear_8xb2048-amp-coslr-90e_in1k.py'

# For configs/*/*_vit-tiny-p8_1xb256-amp-coslr-200e_tiny-imagenet-64px.py
# lr = 0.1 * 512 / 256 = 0.2
source = 'data/tiny-imagenet.zip'
model = dict(
    data_preprocessor=dict(num_classes=200),
    backbone=dict(
        arch=dict(
            _delete_=True, embed_dims=192, num_layers=12, num_heads=3, feedforward_channels=768
        ),
        img_size=64,
        patch_size=8,
    ),
    neck=dict(input_features=192),
    head=dict(num_classes=200, in_channels=192),
)
train_dataloader = dict(
    batch_size=512,
    num_workers=2,
    dataset=dict(
        source=source,
        prefix='train',
        pipeline=[
            dict(
                type='mmpretrain.RandomResizedCrop',
                scale=64,
                backend='pillow',
                interpolation='bicubic',
            ),
            dict(type='mmpretrain.RandomFlip', prob=0.5),
            dict(type='mmpretrain.PackInputs'),
        ],
    ),
)
val_dataloader = dict(
    num_workers=2,
    dataset=dict(source=source, prefix='val', pipeline=[dict(type='mmpretrain.PackInputs')]),
)
test_dataloader = val_dataloader

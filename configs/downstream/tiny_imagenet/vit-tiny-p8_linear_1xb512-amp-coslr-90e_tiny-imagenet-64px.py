_base_ = '../folder/vit-base-p16_linear.py'

# For configs/*/*_vit-tiny-p8_1xb256-amp-coslr-200e_tiny-imagenet-64px.py
# lr = 0.1 * 512 / 256 = 0.2
classes = dict(num_classes=200)
width = 192
model = dict(
    data_preprocessor=classes,
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
    neck=dict(input_features=width),
    head=dict(classes, in_channels=width),
)
source = 'data/tiny-imagenet.zip'
train_dataloader = dict(
    batch_size=512,
    num_workers=2,
    dataset=dict(
        source=source,
        pipeline=[
            dict(
                type='mmpretrain.RandomResizedCrop',
                scale=64,
                backend='pillow',
                interpolation='bicubic',
            ),
            _base_.random_flip,
            dict(type='mmpretrain.PackInputs'),
        ],
    ),
)
val_dataloader = dict(
    num_workers=2, dataset=dict(source=source, pipeline=[dict(type='mmpretrain.PackInputs')])
)
test_dataloader = val_dataloader

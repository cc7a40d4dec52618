# Tiny ImageNet at its own 64 px: train/<class>/*.JPEG and val/<class>/*.JPEG in a folder or a zip.
_base_ = 'imagenet_finetune.py'

source = 'data/tiny-imagenet.zip'
train_dataloader = dict(
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
            _base_.rand_augment,
            _base_.random_erasing,
            dict(type='mmpretrain.PackInputs'),
        ],
    ),
)
val_dataloader = dict(
    num_workers=2, dataset=dict(source=source, pipeline=[dict(type='mmpretrain.PackInputs')])
)
test_dataloader = val_dataloader

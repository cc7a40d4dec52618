# ImageNet-1K without labels: data/imagenet/train/<class>/*.JPEG
train_dataloader = dict(
    batch_size=256,
    num_workers=8,
    drop_last=True,
    sampler=dict(type='mmmask.ResumableSampler', shuffle=True),
    dataset=dict(
        type='mmmask.ImageFolder',
        source='data/imagenet/train',
        pipeline=[
            dict(
                type='mmmask.RandomResizedCrop',
                scale=224,
                crop_ratio_range=(0.2, 1.0),
                flip_prob=0.5,
            ),
            dict(type='mmpretrain.PackInputs'),
        ],
    ),
)

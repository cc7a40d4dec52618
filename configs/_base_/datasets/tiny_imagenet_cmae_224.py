# Tiny ImageNet, two views of each image: a mild and a coloured one. Both are cut out of the 64 px
# original and enlarged to 224 px.
_base_ = 'tiny_imagenet_mim.py'

crop = dict(
    type='mmmask.ContrastiveCrop', scale=224, alpha=0.1, backend='pillow', interpolation='bicubic'
)
flip = dict(type='mmpretrain.RandomFlip', prob=0.5)
colour_jitter = dict(
    type='mmpretrain.RandomApply',
    transforms=[
        dict(type='mmpretrain.ColorJitter', brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1)
    ],
    prob=0.8,
)
grey = dict(
    type='mmpretrain.RandomGrayscale',
    prob=0.2,
    keep_channels=True,
    channel_weights=(0.114, 0.587, 0.2989),  # of blue, green and red
)
train_dataloader = dict(
    batch_size=64,
    num_workers=8,
    dataset=dict(
        pipeline=[
            dict(
                type='mmpretrain.MultiView',
                num_views=[1, 1],
                transforms=[[crop, flip], [crop, flip, colour_jitter, grey]],
            ),
            dict(type='mmpretrain.PackInputs'),
        ]
    ),
)
pictures = dict(
    type='mmmask.ImageFolder',
    source='data/tiny-imagenet.zip',
    prefix='val',
    pipeline=[
        dict(type='mmpretrain.Resize', scale=(224, 224), backend='pillow', interpolation='bicubic'),
        dict(type='mmpretrain.PackInputs'),
    ],
)

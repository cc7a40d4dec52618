# Two views of each image at its own 64 px, one mild and one coloured.
_base_ = 'tiny_imagenet_mim.py'

crop = dict(
    type='mmmask.ContrastiveCrop',
    scale=64,
    crop_ratio_range=(0.2, 1.0),
    backend='pillow',
    interpolation='bicubic',
)
random_flip = dict(type='mmpretrain.RandomFlip', prob=0.5)
color_jitter = dict(
    type='mmpretrain.RandomApply',
    transforms=[
        dict(type='mmpretrain.ColorJitter', brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1)
    ],
    prob=0.8,
)
grayscale = dict(
    type='mmpretrain.RandomGrayscale',
    prob=0.2,
    keep_channels=True,
    channel_weights=(0.114, 0.587, 0.2989),  # of blue, green and red
)
train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(
                type='mmpretrain.MultiView',
                num_views=[1, 1],
                transforms=[[crop, random_flip], [crop, random_flip, color_jitter, grayscale]],
            ),
            dict(type='mmpretrain.PackInputs'),
        ]
    )
)

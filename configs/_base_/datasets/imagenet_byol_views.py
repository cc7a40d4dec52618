# The two views of BYOL: the first always blurred, the second seldom, and sometimes solarised.
_base_ = 'imagenet_mim.py'

crop_and_colour = [
    dict(type='mmpretrain.RandomResizedCrop', scale=224, backend='pillow', interpolation='bicubic'),
    dict(type='mmpretrain.RandomFlip', prob=0.5),
    dict(
        type='mmpretrain.RandomApply',
        transforms=[
            dict(
                type='mmpretrain.ColorJitter', brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1
            )
        ],
        prob=0.8,
    ),
    dict(
        type='mmpretrain.RandomGrayscale',
        prob=0.2,
        keep_channels=True,
        channel_weights=(0.114, 0.587, 0.2989),
    ),
]
blur = dict(type='mmpretrain.GaussianBlur', magnitude_range=(0.1, 2.0), magnitude_std='inf')
view1 = [*crop_and_colour, dict(blur, prob=1.0)]
view2 = [
    *crop_and_colour,
    dict(blur, prob=0.1),
    dict(type='mmpretrain.Solarize', thr=128, prob=0.2),
]
train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type='mmpretrain.MultiView', num_views=[1, 1], transforms=[view1, view2]),
            dict(type='mmpretrain.PackInputs'),
        ]
    )
)

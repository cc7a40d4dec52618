# Two windows of one crop of each image: the corner, and shifted by up to 7 px and coloured.
# In the proportions of ImageNet, 256 : 224 : 31.
_base_ = 'tiny_imagenet_mim.py'

train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(
                type='mmpretrain.RandomResizedCrop',
                scale=72,
                crop_ratio_range=(0.2, 1.0),
                backend='pillow',
                interpolation='bicubic',
            ),
            dict(type='mmpretrain.RandomFlip', prob=0.5),
            dict(
                type='mmpretrain.MultiView',
                num_views=[1, 1],
                transforms=[
                    [dict(type='mmmask.ShiftedCrop', size=64)],
                    [
                        dict(type='mmmask.ShiftedCrop', size=64, max_shift=7),
                        dict(
                            type='mmpretrain.RandomApply',
                            transforms=[
                                dict(
                                    type='mmpretrain.ColorJitter',
                                    brightness=0.4,
                                    contrast=0.4,
                                    saturation=0.4,
                                    hue=0.1,
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
                        dict(
                            type='mmpretrain.GaussianBlur',
                            magnitude_range=(0.1, 2.0),
                            magnitude_std='inf',
                            prob=0.5,
                        ),
                    ],
                ],
            ),
            dict(type='mmpretrain.PackInputs'),
        ]
    )
)

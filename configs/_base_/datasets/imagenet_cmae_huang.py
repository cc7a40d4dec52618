# ImageNet-1K, two windows of one crop: its corner, and one shifted by up to 31 px in other colours.
_base_ = 'imagenet_mim.py'

train_dataloader = dict(
    batch_size=512,
    dataset=dict(
        pipeline=[
            dict(
                type='mmpretrain.RandomResizedCrop',
                scale=256,
                crop_ratio_range=(0.2, 1.0),
                backend='pillow',
                interpolation='bicubic',
            ),
            dict(type='mmpretrain.RandomFlip', prob=0.5),
            dict(
                type='mmpretrain.MultiView',
                num_views=[1, 1],
                transforms=[
                    [dict(type='mmmask.ShiftedCrop', size=224)],
                    [
                        dict(type='mmmask.ShiftedCrop', size=224, max_shift=31),
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
                            channel_weights=(0.114, 0.587, 0.2989),  # of blue, green and red
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
    ),
)

# Two windows of one crop of each image: the corner, and shifted by up to 31 px and coloured.
_base_ = ['imagenet_mim.py', 'view_transforms.py']

train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(
                type='mmpretrain.RandomResizedCrop',
                scale=256,
                crop_ratio_range=(0.2, 1.0),
                backend='pillow',
                interpolation='bicubic',
            ),
            {{_base_.random_flip}},
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
                        {{_base_.grayscale}},
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

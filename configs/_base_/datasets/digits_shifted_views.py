# Two windows of one crop of each digit: the corner, and shifted by up to 7 px, brighter or darker.
_base_ = 'digits_mim.py'

train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(
                type='mmpretrain.RandomResizedCrop',
                scale=72,
                crop_ratio_range=(0.6, 1.0),
                backend='pillow',
                interpolation='bicubic',
            ),
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
                                dict(type='mmpretrain.ColorJitter', brightness=0.4, contrast=0.4)
                            ],
                            prob=0.8,
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

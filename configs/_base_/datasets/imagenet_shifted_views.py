# Two windows of one crop of each image: one at the corner, one shifted by up to 31 px and coloured.
_base_ = ['imagenet_mim.py', 'view_transforms.py']

strong_jitter = dict(
    _base_.color_jitter,
    transforms=[dict(_base_.color_jitter.transforms[0], saturation=0.4)],
)
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
            _base_.random_flip,
            dict(
                type='mmpretrain.MultiView',
                num_views=[1, 1],
                transforms=[
                    [dict(type='mmmask.ShiftedCrop', size=224)],
                    [
                        dict(type='mmmask.ShiftedCrop', size=224, max_shift=31),
                        strong_jitter,
                        _base_.grayscale,
                        dict(_base_.blur, prob=0.5),
                    ],
                ],
            ),
            dict(type='mmpretrain.PackInputs'),
        ]
    )
)

# Two views of each image, one mild and one coloured.
_base_ = ['imagenet_mim.py', 'view_transforms.py']

crop = dict(
    type='mmmask.ContrastiveCrop',
    scale=224,
    crop_ratio_range=(0.2, 1.0),
    backend='pillow',
    interpolation='bicubic',
)
train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(
                type='mmpretrain.MultiView',
                num_views=[1, 1],
                transforms=[
                    [crop, {{_base_.random_flip}}],
                    [crop, {{_base_.random_flip}}, {{_base_.color_jitter}}, {{_base_.grayscale}}],
                ],
            ),
            dict(type='mmpretrain.PackInputs'),
        ]
    )
)

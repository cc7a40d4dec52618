# Two views of each image, one mild and one coloured: crops of the 64 px enlarged to 224.
_base_ = ['tiny_imagenet_mim.py', 'view_transforms.py']

crop = dict(
    type='mmmask.ContrastiveCrop',
    scale=224,
    crop_ratio_range=(0.2, 1.0),
    backend='pillow',
    interpolation='bicubic',
)
plain_pipeline = [
    dict(type='mmpretrain.Resize', scale=(224, 224), backend='pillow', interpolation='bicubic'),
    dict(type='mmpretrain.PackInputs'),
]
labelled_train = dict(pipeline=plain_pipeline)
labelled_val = dict(pipeline=plain_pipeline)
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

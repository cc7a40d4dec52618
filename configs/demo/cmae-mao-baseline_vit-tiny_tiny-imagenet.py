_base_ = 'cmae-mao_vit-tiny_tiny-imagenet.py'

# MAE under the recipe of CMAE: a large decoder, two plain random crops, reconstruction alone.
model = dict(
    neck=dict(embed_dims=64, depth=4, num_heads=4), contrast_weight=0.0, position_weight=0.0
)
crop = dict(
    type='mmpretrain.RandomResizedCrop',
    scale=64,
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
    ),
)
custom_hooks = [
    dict(type='mmmask.NonFiniteLossHook'),
    dict(type='mmmask.ReconstructionHook', interval=2, dataset={{_base_.labelled_val}}),
]

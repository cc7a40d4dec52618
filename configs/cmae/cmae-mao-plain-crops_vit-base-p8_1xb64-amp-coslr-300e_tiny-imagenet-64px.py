_base_ = 'cmae-mao_vit-base-p8_1xb64-amp-coslr-300e_tiny-imagenet-64px.py'

# Without ContrastiveCrop.
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
    dict(type='mmmask.MomentumUpdateHook'),
    dict(type='mmmask.NonFiniteLossHook'),
    dict(type='mmmask.ReconstructionHook', interval=50, dataset={{_base_.labelled_val}}),
]

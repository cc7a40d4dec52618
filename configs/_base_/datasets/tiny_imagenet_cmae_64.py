# Two views of each image at Tiny ImageNet's own 64 px.
_base_ = 'tiny_imagenet_cmae_224.py'

crop = dict(
    type='mmmask.ContrastiveCrop', scale=64, alpha=0.1, backend='pillow', interpolation='bicubic'
)
train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(
                type='mmpretrain.MultiView',
                num_views=[1, 1],
                transforms=[
                    [crop, {{_base_.flip}}],
                    [crop, {{_base_.flip}}, {{_base_.colour_jitter}}, {{_base_.grey}}],
                ],
            ),
            dict(type='mmpretrain.PackInputs'),
        ]
    ),
)
pictures = {{_base_.labelled_val}}

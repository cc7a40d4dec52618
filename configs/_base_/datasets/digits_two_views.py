# Two views of each digit, the second brighter or darker.
_base_ = 'digits_mim.py'

# A digit is no longer one when it is flipped or cut in half: crop gently.
crop = dict(
    type='mmmask.ContrastiveCrop',
    scale=64,
    crop_ratio_range=(0.6, 1.0),
    backend='pillow',
    interpolation='bicubic',
)
color = [
    dict(
        type='mmpretrain.RandomApply',
        transforms=[dict(type='mmpretrain.ColorJitter', brightness=0.4, contrast=0.4)],
        prob=0.8,
    ),
]
train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(
                type='mmpretrain.MultiView',
                num_views=[1, 1],
                transforms=[[crop], [crop, *color]],
            ),
            dict(type='mmpretrain.PackInputs'),
        ]
    )
)

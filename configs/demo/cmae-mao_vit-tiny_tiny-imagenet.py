# The preset native64 of CMAE (Mao et al.) in small: minutes on one CPU core with a sixth of 25,000
# photographs.
_base_ = 'cmae-mao_vit-tiny_digits.py'

source = 'data/tiny-imagenet.zip'
model = dict(neck=dict(embed_dims=32))
crop = dict(
    type='mmmask.ContrastiveCrop', scale=64, alpha=0.1, backend='pillow', interpolation='bicubic'
)
flip = dict(type='mmpretrain.RandomFlip', prob=0.5)
colour_jitter = dict(
    type='mmpretrain.RandomApply',
    transforms=[
        dict(type='mmpretrain.ColorJitter', brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1)
    ],
    prob=0.8,
)
grey = dict(
    type='mmpretrain.RandomGrayscale',
    prob=0.2,
    keep_channels=True,
    channel_weights=(0.114, 0.587, 0.2989),  # of blue, green and red
)
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='mmmask.ImageFolder',
        source=source,
        prefix='train',
        indices=list(range(0, 25000, 6)),
        pipeline=[
            dict(
                type='mmpretrain.MultiView',
                num_views=[1, 1],
                transforms=[[crop, flip], [crop, flip, colour_jitter, grey]],
            ),
            dict(type='mmpretrain.PackInputs'),
        ],
    ),
)
pictures = dict(
    type='mmmask.ImageFolder',
    source=source,
    prefix='val',
    pipeline=[
        dict(type='mmpretrain.Resize', scale=(64, 64), backend='pillow', interpolation='bicubic'),
        dict(type='mmpretrain.PackInputs'),
    ],
)
custom_hooks = [
    dict(type='mmmask.RefreshCropsHook', warmup=2, interval=2),
    dict(type='mmmask.MomentumUpdateHook'),
    dict(type='mmmask.NonFiniteLossHook'),
    dict(type='mmmask.ReconstructionHook', interval=2, dataset=pictures),
]
# peak lr = 6e-3 * 64 / 256 = 1.5e-3
train_cfg = dict(max_epochs=5)
default_hooks = dict(checkpoint=dict(interval=5))

# What BYOL does to the colours of a view, and a flip.
random_flip = dict(type='mmpretrain.RandomFlip', prob=0.5)
color_jitter = dict(
    type='mmpretrain.RandomApply',
    transforms=[
        dict(type='mmpretrain.ColorJitter', brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1)
    ],
    prob=0.8,
)
grayscale = dict(
    type='mmpretrain.RandomGrayscale',
    prob=0.2,
    keep_channels=True,
    channel_weights=(0.114, 0.587, 0.2989),  # of blue, green and red
)

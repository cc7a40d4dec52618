# A flip, and what BYOL does to the colours of a view.
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
blur = dict(type='mmpretrain.GaussianBlur', magnitude_range=(0.1, 2.0), magnitude_std='inf')
# What follows the crop in a mild and in a coloured view.
mild = [random_flip]
coloured = [random_flip, color_jitter, grayscale]

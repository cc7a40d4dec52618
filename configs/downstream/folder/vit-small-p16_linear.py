_base_ = 'vit-base-p16_linear.py'

width = 384
model = dict(
    backbone=dict(arch='deit-small'),
    neck=dict(input_features=width),
    head=dict(in_channels=width),
)

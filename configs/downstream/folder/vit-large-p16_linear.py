_base_ = 'vit-base-p16_linear.py'

# MAE trains the probe of a ViT-L for 50 epochs; the published schedule of a ViT-B has 90.
width = 1024
model = dict(
    backbone=dict(arch='large', frozen_stages=24),
    neck=dict(input_features=width),
    head=dict(in_channels=width),
)

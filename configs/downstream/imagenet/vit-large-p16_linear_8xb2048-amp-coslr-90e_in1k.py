_base_ = 'vit-base-p16_linear_8xb2048-amp-coslr-90e_in1k.py'

# MAE gives the probe of a ViT-L 50 epochs; published are 90 for a ViT-B.
model = dict(
    backbone=dict(arch='large', frozen_stages=24),
    neck=dict(input_features=1024),
    head=dict(in_channels=1024),
)

# The mean of the last map, a new LayerNorm, and a linear layer.
_base_ = ['vit-base-p16_classifier.py', 'swin-base.py']

width = 1024
model = dict(
    backbone=dict(_delete_=True, **_base_.backbone, drop_path_rate=0.1),
    neck=dict(type='mmmask.PooledNorm', in_channels=width),
    head=dict(in_channels=width),
)

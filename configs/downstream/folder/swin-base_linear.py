_base_ = ['vit-base-p16_linear.py', '../../_base_/models/swin-base.py']

# MAE's linear probe on the mean of the last map; nothing is published for Swin.
width = 1024
model = dict(
    backbone=dict(_delete_=True, **_base_.backbone, frozen_stages=3),
    neck=[
        dict(type='mmpretrain.GlobalAveragePooling'),
        dict(type='mmpretrain.ClsBatchNormNeck', input_features=width),
    ],
    head=dict(in_channels=width),
)
# mmpretrain's Swin freezes its stages when training starts, after DDP has registered gradients.
find_unused_parameters = True

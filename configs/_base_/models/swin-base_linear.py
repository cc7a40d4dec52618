# The mean over the last map of a frozen backbone, a batch norm without parameters, a linear layer.
_base_ = 'swin-base_frozen.py'

model = dict(
    data_preprocessor=dict(num_classes=1000),
    backbone=dict(frozen_stages=3),
    neck=[
        dict(type='mmpretrain.GlobalAveragePooling'),
        dict(type='mmpretrain.ClsBatchNormNeck', input_features=1024),
    ],
    head=dict(
        type='mmpretrain.LinearClsHead',
        num_classes=1000,
        in_channels=1024,
        loss=dict(type='mmpretrain.CrossEntropyLoss'),
        init_cfg=dict(type='TruncNormal', layer='Linear', std=0.01),
    ),
)

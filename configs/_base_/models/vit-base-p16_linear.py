# The class token of a frozen backbone, a batch norm without parameters, a linear layer.
_base_ = 'vit-base-p16_frozen.py'

model = dict(
    data_preprocessor=dict(num_classes=1000),
    backbone=dict(out_type='cls_token', frozen_stages=12),
    neck=dict(type='mmpretrain.ClsBatchNormNeck', input_features=768),
    head=dict(
        type='mmpretrain.LinearClsHead',
        num_classes=1000,
        in_channels=768,
        loss=dict(type='mmpretrain.CrossEntropyLoss'),
        init_cfg=dict(type='TruncNormal', layer='Linear', std=0.01),
    ),
)

_base_ = [
    '../../_base_/models/vit-base-p16_frozen.py',
    '../../_base_/datasets/imagenet_linear.py',
    '../../_base_/schedules/linear_lars.py',
    '../../_base_/runtime/classification.py',
]

# MAE's linear probe: the class token of a frozen backbone, a batch norm without parameters, a
# linear layer. lr = 0.1 * (8 GPUs * 2048) / 256 = 6.4
num_classes = int('{{$NUM_CLASSES:1000}}')
width = 768
model = dict(
    data_preprocessor=dict(num_classes=num_classes),
    backbone=dict(out_type='cls_token', frozen_stages=12),
    neck=dict(type='mmpretrain.ClsBatchNormNeck', input_features=width),
    head=dict(
        type='mmpretrain.LinearClsHead',
        num_classes=num_classes,
        in_channels=width,
        loss=dict(type='mmpretrain.CrossEntropyLoss'),
        init_cfg=dict(type='TruncNormal', layer='Linear', std=0.01),
    ),
)
# The crop is clipped to the image, and LARS adapts the rate of matrices only.
crop = dict(_base_.crop, type='mmmask.ClippedResizedCrop')
train_dataloader = dict(
    dataset=dict(pipeline=[crop, _base_.random_flip, dict(type='mmpretrain.PackInputs')])
)
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(bias=dict(lars_exclude=True))))

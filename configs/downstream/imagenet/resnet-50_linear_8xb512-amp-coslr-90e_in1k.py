_base_ = [
    '../../_base_/models/vit-base-p16_frozen.py',
    '../../_base_/datasets/imagenet_linear.py',
    '../../_base_/schedules/linear_lars.py',
    '../../_base_/runtime/classification.py',
]

# SimSiam's linear probe, which has neither warm-up nor a norm before the linear layer.
# lr = 0.1 * (8 GPUs * 512) / 256 = 1.6
num_classes = int('{{$NUM_CLASSES:1000}}')
train_dataloader = dict(batch_size=512)
model = dict(
    data_preprocessor=dict(num_classes=num_classes),
    backbone=dict(_delete_=True, type='mmpretrain.ResNet', depth=50, frozen_stages=4),
    neck=dict(type='mmpretrain.GlobalAveragePooling'),
    head=dict(
        type='mmpretrain.LinearClsHead',
        num_classes=num_classes,
        in_channels=2048,
        loss=dict(type='mmpretrain.CrossEntropyLoss'),
        init_cfg=dict(type='Normal', layer='Linear', std=0.01),
    ),
)
param_scheduler = dict(warmup_epochs=0)

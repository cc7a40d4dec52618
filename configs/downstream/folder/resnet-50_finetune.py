_base_ = [
    '../../_base_/models/vit-base-p16_classifier.py',
    '../../_base_/datasets/imagenet_linear.py',
    '../../_base_/schedules/linear_lars.py',
    '../../_base_/runtime/classification.py',
]

# Nothing is published for fine-tuning on all labels: the usual training from random weights, at a
# tenth of its rate. lr = 0.01 * (8 GPUs * 32) / 256 = 0.01
train_dataloader = dict(batch_size=32)
model = dict(
    backbone=dict(_delete_=True, type='mmpretrain.ResNet', depth=50),
    neck=dict(type='mmpretrain.GlobalAveragePooling'),
    head=dict(
        in_channels=2048,
        loss=dict(_delete_=True, type='mmpretrain.CrossEntropyLoss'),
        init_cfg=dict(type='Normal', layer='Linear', std=0.01),
    ),
    train_cfg=None,  # neither mixup nor cutmix
)
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='SGD', lr=0.01, momentum=0.9, weight_decay=1e-4)
)
param_scheduler = dict(warmup_epochs=0)
train_cfg = dict(max_epochs=100)

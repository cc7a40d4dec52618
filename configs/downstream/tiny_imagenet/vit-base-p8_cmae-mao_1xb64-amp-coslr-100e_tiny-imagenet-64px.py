_base_ = [
    '../../_base_/models/vit-base-p16_classifier.py',
    '../../_base_/datasets/tiny_imagenet_finetune.py',
    '../../_base_/schedules/finetune_adamw.py',
    '../../_base_/runtime/classification.py',
]

# The recipe at 224 px, at Tiny ImageNet's own size. lr = 1e-3 * 64 / 256 = 2.5e-4
train_dataloader = dict(batch_size=64)
classes = dict(num_classes=200)
model = dict(
    data_preprocessor=classes,
    backbone=dict(img_size=64, patch_size=8),
    head=classes,
    train_cfg=None,  # neither mixup nor cutmix
)
optim_wrapper = dict(
    optimizer=dict(lr=2.5e-4),
    paramwise_cfg=dict(layer_decay_rate=0.75, no_decay=('pos_embed', 'cls_token')),
)
param_scheduler = dict(warmup_epochs=5)

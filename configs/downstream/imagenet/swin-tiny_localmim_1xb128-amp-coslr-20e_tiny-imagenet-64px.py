_base_ = [
    '../../_base_/models/swin-base_classifier.py',
    '../../_base_/datasets/tiny_imagenet_finetune.py',
    '../../_base_/schedules/finetune_adamw.py',
    '../../_base_/runtime/classification.py',
]

# The recipe of ImageNet-1K for the backbone of
# configs/localmim/localmim_swin-tiny-hog_1xb256-amp-coslr-200e_tiny-imagenet-64px.py
classes = dict(num_classes=200)
width = 768
model = dict(
    data_preprocessor=classes,
    backbone=dict(arch='tiny', img_size=64, patch_size=2, window_size=4),
    neck=dict(in_channels=width),
    head=dict(classes, in_channels=width),
)
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.9))
param_scheduler = dict(warmup_epochs=2)
train_cfg = dict(max_epochs=20)

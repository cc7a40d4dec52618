_base_ = [
    '../../_base_/models/vit-base-p16_classifier.py',
    '../../_base_/datasets/tiny_imagenet_finetune.py',
    '../../_base_/schedules/finetune_adamw.py',
    '../../_base_/runtime/classification.py',
]

# The recipe of ImageNet-1K for the backbone of
# configs/localmim/localmim_vit-tiny-p8_1xb256-amp-coslr-200e_tiny-imagenet-64px.py
classes = dict(num_classes=200)
width = 192
model = dict(
    data_preprocessor=classes,
    backbone=dict(
        arch=dict(
            _delete_=True,
            embed_dims=width,
            num_layers=12,
            num_heads=3,
            feedforward_channels=4 * width,
        ),
        img_size=64,
        patch_size=8,
    ),
    head=dict(classes, in_channels=width),
)
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.75, no_decay=('pos_embed', 'cls_token')))
param_scheduler = dict(warmup_epochs=2)
train_cfg = dict(max_epochs=20)

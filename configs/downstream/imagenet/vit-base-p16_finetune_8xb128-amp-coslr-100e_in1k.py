_base_ = [
    '../../_base_/models/vit-base-p16_classifier.py',
    '../../_base_/datasets/imagenet_finetune.py',
    '../../_base_/schedules/finetune_adamw.py',
    '../../_base_/runtime/classification.py',
]

# MAE's recipe, for any pre-training of a ViT-B. batch = 8 GPUs * 128 = 1024
optim_wrapper = dict(paramwise_cfg=dict(no_decay=('pos_embed', 'cls_token')))
param_scheduler = dict(warmup_epochs=5)

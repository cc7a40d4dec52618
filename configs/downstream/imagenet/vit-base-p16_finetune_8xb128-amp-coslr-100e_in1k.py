_base_ = [
    '../../_base_/models/vit-base-p16_classifier.py',
    '../../_base_/datasets/imagenet_finetune.py',
    '../../_base_/schedules/finetune_adamw.py',
    '../../_base_/runtime/default.py',
]
default_scope = 'mmpretrain'

# MAE's recipe, for any pre-training of a ViT-B. batch = 8 GPUs * 128 = 1024
optim_wrapper = dict(
    optimizer=dict(lr=2e-3),
    paramwise_cfg=dict(layer_decay_rate=0.65, no_decay=('pos_embed', 'cls_token')),
)
param_scheduler = dict(warmup_epochs=5, eta_min=1e-6)
default_hooks = dict(checkpoint=dict(save_best='accuracy/top1'))

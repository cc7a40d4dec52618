_base_ = [
    '../../_base_/models/vit-base-p16_classifier.py',
    '../../_base_/datasets/imagenet_finetune.py',
    '../../_base_/schedules/finetune_adamw.py',
    '../../_base_/runtime/default.py',
]
default_scope = 'mmpretrain'  # whose RandAugment names its parts without a scope

# From 1600 epochs of LocalMIM: tools/train.py ... --pretrained CHECKPOINT
# batch = 8 GPUs * 128 = 1024; the rate is not scaled with it
optim_wrapper = dict(
    optimizer=dict(lr=2e-3),
    paramwise_cfg=dict(layer_decay_rate=0.65, no_decay=('pos_embed', 'cls_token')),
)
param_scheduler = dict(eta_min=1e-5)
default_hooks = dict(checkpoint=dict(save_best='accuracy/top1'))

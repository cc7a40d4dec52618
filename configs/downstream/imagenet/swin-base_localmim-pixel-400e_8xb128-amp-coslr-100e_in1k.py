_base_ = [
    '../../_base_/models/swin-base_classifier.py',
    '../../_base_/datasets/imagenet_finetune.py',
    '../../_base_/schedules/finetune_adamw.py',
    '../../_base_/runtime/default.py',
]
default_scope = 'mmpretrain'  # whose RandAugment names its parts without a scope

# From 400 epochs of LocalMIM with pixels: tools/train.py ... --pretrained CHECKPOINT
# batch = 8 GPUs * 128 = 1024; the rate is not scaled with it
# Relative position tables are decayed here, in pre-training they are not.
optim_wrapper = dict(optimizer=dict(lr=4e-3), paramwise_cfg=dict(layer_decay_rate=0.9))
param_scheduler = dict(eta_min=2.5e-7)
default_hooks = dict(checkpoint=dict(save_best='accuracy/top1'))

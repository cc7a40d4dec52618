_base_ = [
    '../../_base_/models/vit-base-p16_linear.py',
    '../../_base_/datasets/imagenet_linear.py',
    '../../_base_/schedules/linear_lars.py',
    '../../_base_/runtime/default.py',
]
default_scope = 'mmpretrain'

# MAE's linear probe. lr = 0.1 * (8 GPUs * 2048) / 256 = 6.4
default_hooks = dict(checkpoint=dict(save_best='accuracy/top1'))

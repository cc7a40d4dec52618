_base_ = [
    '../../_base_/models/swin-base_linear.py',
    '../../_base_/datasets/imagenet_linear.py',
    '../../_base_/schedules/linear_lars.py',
    '../../_base_/runtime/default.py',
]
default_scope = 'mmpretrain'

# MAE's linear probe on the mean of the last map; nothing is published for Swin.
# The base rate gives lr = 0.1 * (8 GPUs * 2048) / 256 = 6.4
# The first crop is clipped to the image, and LARS adapts the rate of matrices only.
train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(
                type='mmmask.ClippedResizedCrop',
                scale=224,
                backend='pillow',
                interpolation='bicubic',
            ),
            {{_base_.random_flip}},
            dict(type='mmpretrain.PackInputs'),
        ],
    ),
)
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(bias=dict(lars_exclude=True))))
default_hooks = dict(checkpoint=dict(save_best='accuracy/top1'))
# mmpretrain's Swin freezes its stages when training starts, after DDP counted on their gradients.
find_unused_parameters = True

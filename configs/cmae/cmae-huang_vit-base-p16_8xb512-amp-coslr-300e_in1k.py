_base_ = [
    '../_base_/models/cmae-huang_vit-base-p16.py',
    '../_base_/datasets/imagenet_mim.py',
    '../_base_/datasets/view_transforms.py',
    '../_base_/schedules/adamw_coslr.py',
    '../_base_/runtime/default.py',
]

# Two windows of one crop of each image: one at the corner, one shifted by up to 31 px and coloured.
strong_jitter = dict(
    _base_.color_jitter,
    transforms=[dict(_base_.color_jitter.transforms[0], saturation=0.4)],
)
train_dataloader = dict(
    batch_size=512,
    dataset=dict(
        pipeline=[
            dict(
                type='mmpretrain.RandomResizedCrop',
                scale=256,
                crop_ratio_range=(0.2, 1.0),
                backend='pillow',
                interpolation='bicubic',
            ),
            _base_.random_flip,
            dict(
                type='mmpretrain.MultiView',
                num_views=[1, 1],
                transforms=[
                    [dict(type='mmmask.ShiftedCrop', size=224)],
                    [
                        dict(type='mmmask.ShiftedCrop', size=224, max_shift=31),
                        strong_jitter,
                        _base_.grayscale,
                        dict(_base_.blur, prob=0.5),
                    ],
                ],
            ),
            dict(type='mmpretrain.PackInputs'),
        ]
    ),
)

# peak lr = 1.5e-4 * (8 GPUs * 512) / 256 = 2.4e-3
custom_hooks = [dict(type='mmmask.MomentumUpdateHook'), dict(type='mmmask.NonFiniteLossHook')]
# The reference excludes the class token and the mask tokens from weight decay, unlike MAE's.
optim_wrapper = dict(paramwise_cfg=dict(no_decay=('cls_token', 'mask_token')))

_base_ = [
    '../_base_/models/cmae-huang_vit-base-p16.py',
    '../_base_/datasets/imagenet_shifted_views.py',
    '../_base_/schedules/adamw_coslr.py',
    '../_base_/runtime/default.py',
]

# peak lr = 1.5e-4 * (8 GPUs * 512) / 256 = 2.4e-3
train_dataloader = dict(batch_size=512)
custom_hooks = [dict(type='mmmask.MomentumUpdateHook'), dict(type='mmmask.NonFiniteLossHook')]
# The reference excludes the class token and the mask tokens from weight decay, unlike MAE's.
optim_wrapper = dict(paramwise_cfg=dict(no_decay=('cls_token', 'mask_token')))

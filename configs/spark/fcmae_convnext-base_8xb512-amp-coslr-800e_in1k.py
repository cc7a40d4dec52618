_base_ = [
    '../_base_/models/fcmae_convnext-base.py',
    '../_base_/datasets/imagenet_mim.py',
    '../_base_/schedules/adamw_coslr.py',
    '../_base_/runtime/default.py',
]

# peak lr = 1.5e-4 * (8 GPUs * 512) / 256 = 2.4e-3
train_dataloader = dict(batch_size=512)
optim_wrapper = dict(paramwise_cfg=dict(no_decay=('mask_token', 'grn')))
train_cfg = dict(max_epochs=800)
custom_hooks = [dict(type='mmmask.NonFiniteLossHook'), dict(type='mmmask.ChannelsLastHook')]

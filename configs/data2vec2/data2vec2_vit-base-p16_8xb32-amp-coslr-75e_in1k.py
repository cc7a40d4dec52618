_base_ = [
    '../_base_/models/data2vec2_vit-base-p16.py',
    '../_base_/datasets/imagenet_mim.py',
    '../_base_/schedules/adamw_coslr.py',
    '../_base_/runtime/default.py',
]

# A GPU encodes 32 images under 16 masks each.
# peak lr = 1e-3 * (8 GPUs * 32) / 256 = 1e-3
train_dataloader = dict(batch_size=32)
optim_wrapper = dict(optimizer=dict(lr=1e-3), clip_grad=dict(max_norm=4.0))
param_scheduler = dict(warmup_epochs=10)
train_cfg = dict(max_epochs=75)
custom_hooks = [dict(type='mmmask.MomentumUpdateHook'), dict(type='mmmask.NonFiniteLossHook')]

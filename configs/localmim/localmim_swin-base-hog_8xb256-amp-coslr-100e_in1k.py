_base_ = [
    '../_base_/models/localmim_swin-base.py',
    '../_base_/datasets/imagenet_mim.py',
    '../_base_/schedules/adamw_coslr.py',
    '../_base_/runtime/default.py',
]

# peak lr = 1e-4 * (8 GPUs * 256) / 256 = 8e-4
optim_wrapper = dict(
    optimizer=dict(lr=1e-4),
    # relative position tables and the decoders' mask tokens
    paramwise_cfg=dict(no_decay=('position_bias', 'token')),
)
param_scheduler = dict(warmup_epochs=10)
train_cfg = dict(max_epochs=100)

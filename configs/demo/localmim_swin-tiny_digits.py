_base_ = [
    '../_base_/models/localmim_swin-base.py',
    '../_base_/datasets/digits_mim.py',
    '../_base_/schedules/adamw_coslr.py',
    '../_base_/runtime/default.py',
]

# Three stages from patches of 2 px, window 4: 64 units of 8 px, of which 15 are visible. Maps of
# 16, 8 and 8 tokens a side.
model = dict(
    backbone=dict(
        arch=dict(_delete_=True, embed_dims=32, depths=[2, 2, 2], num_heads=[2, 4, 8]),
        img_size=64,
        patch_size=2,
        window_size=4,
        out_indices=(0, 1, 2),
    ),
    neck=dict(
        decoders=[
            dict(type='mmmask.TokenDecoder', embed_dims=64, depth=1, num_heads=4) for _ in range(3)
        ]
    ),
    target_generator=dict(cell_sizes=(4, 8, 8)),
)

# peak lr = 3e-3 * 128 / 256 = 1.5e-3
optim_wrapper = dict(
    optimizer=dict(lr=3e-3), paramwise_cfg=dict(no_decay=('position_bias', 'token'))
)
param_scheduler = dict(warmup_epochs=2)
train_cfg = dict(max_epochs=20)
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=5))

custom_hooks = [
    dict(type='mmmask.NonFiniteLossHook'),
    dict(
        type='mmmask.OnlineKNNHook',
        interval=5,
        bank=_base_.labelled_train,
        query=_base_.labelled_val,
    ),
    dict(type='mmmask.ReconstructionHook', interval=5, dataset=_base_.labelled_val),
]

_base_ = [
    '../_base_/models/localmim_vit-base-p16.py',
    '../_base_/datasets/digits_mim.py',
    '../_base_/schedules/adamw_coslr.py',
    '../_base_/runtime/default.py',
]

# Six blocks of width 128 on 64 patches of 8 px, of which 16 are visible: minutes on a laptop.
model = dict(
    backbone=dict(
        arch=dict(
            _delete_=True, embed_dims=128, num_layers=6, num_heads=4, feedforward_channels=512
        ),
        img_size=64,
        patch_size=8,
        out_indices=[1, 2, 3, 5],
    ),
    neck=dict(
        decoders=[
            dict(type='mmmask.ScaleDecoder', embed_dims=64, num_heads=4, scale=scale)
            for scale in (4, 2, 1, 0.5)
        ]
    ),
    target_generator=dict(cell_sizes=(2, 4, 8, 16)),
)

# peak lr = 6e-3 * 64 / 256 = 1.5e-3
train_dataloader = dict(batch_size=64, num_workers=1)
optim_wrapper = dict(optimizer=dict(lr=6e-3))
param_scheduler = dict(warmup_epochs=1)
train_cfg = dict(max_epochs=10)
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

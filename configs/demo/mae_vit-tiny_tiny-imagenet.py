# The demo's small model on every fifth photograph, to compare masks in minutes; the recipes of
# configs/mae and configs/evolved need a GPU.
_base_ = '../mae/mae_vit-tiny-p8_1xb256-amp-coslr-200e_tiny-imagenet-64px.py'

model = dict(
    backbone=dict(
        arch=dict(
            _delete_=True, embed_dims=128, num_layers=6, num_heads=4, feedforward_channels=512
        ),
    ),
    neck=dict(embed_dims=64),
)

# 5,000 of 25,000 images, from every class. peak lr = 6e-3 * 64 / 256 = 1.5e-3
every_fifth = list(range(0, 25000, 5))
train_dataloader = dict(batch_size=64, num_workers=1, dataset=dict(indices=every_fifth))
optim_wrapper = dict(optimizer=dict(lr=6e-3))
param_scheduler = dict(warmup_epochs=1)
train_cfg = dict(max_epochs=12)
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=6))
custom_hooks = [
    dict(type='mmmask.NonFiniteLossHook'),
    dict(
        type='mmmask.OnlineKNNHook',
        interval=6,
        bank=dict(
            type='mmmask.ImageFolder',
            source=_base_.source,
            prefix='train',
            with_label=True,
            indices=every_fifth,
            pipeline=_base_.plain_pipeline,
        ),
        query=_base_.labelled_val,
    ),
    dict(type='mmmask.ReconstructionHook', interval=6, dataset=_base_.labelled_val),
]

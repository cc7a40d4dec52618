# The demo's small model on photographs: minutes on a laptop. The recipe of configs/localmim needs a
# GPU.
_base_ = [
    'localmim_vit-tiny_digits.py',
]

source = 'data/tiny-imagenet.zip'
plain_pipeline = [
    dict(type='mmpretrain.Resize', scale=(64, 64), backend='pillow', interpolation='bicubic'),
    dict(type='mmpretrain.PackInputs'),
]
train_dataloader = dict(
    batch_size=128,
    dataset=dict(
        _delete_=True,
        type='mmmask.ImageFolder',
        source=source,
        prefix='train',
        pipeline=[
            dict(
                type='mmpretrain.RandomResizedCrop',
                scale=64,
                crop_ratio_range=(0.2, 1.0),
                backend='pillow',
                interpolation='bicubic',
            ),
            dict(type='mmpretrain.RandomFlip', prob=0.5),
            dict(type='mmpretrain.PackInputs'),
        ],
    ),
)
# Labels are used to monitor the run, never to train. Every tenth image is enough for that.
photographs_train = dict(
    type='mmmask.ImageFolder',
    source=source,
    prefix='train',
    with_label=True,
    indices=list(range(0, 25000, 10)),
    pipeline=plain_pipeline,
)
photographs_val = dict(
    type='mmmask.ImageFolder',
    source=source,
    prefix='val',
    with_label=True,
    pipeline=plain_pipeline,
)
custom_hooks = [
    dict(type='mmmask.NonFiniteLossHook'),
    dict(type='mmmask.OnlineKNNHook', interval=1, bank=photographs_train, query=photographs_val),
    dict(type='mmmask.ReconstructionHook', interval=1, dataset=photographs_val),
]
# peak lr = 3e-3 * 128 / 256 = 1.5e-3
optim_wrapper = dict(optimizer=dict(lr=3e-3))
param_scheduler = dict(warmup_epochs=0.2)
train_cfg = dict(max_epochs=2)
default_hooks = dict(checkpoint=dict(interval=1))

_base_ = [
    '../_base_/datasets/imagenet_mim.py',
    '../_base_/schedules/adamw_coslr.py',
    '../_base_/runtime/default.py',
]

# Swin-B with windows of 6 at 192 px: 22 of 36 units of 32 px are hidden, and go through the encoder
# as mask tokens.
model = dict(
    type='mmmask.SimMIM',
    data_preprocessor=dict(
        type='mmmask.DataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
    ),
    backbone=dict(
        type='mmmask.MaskedSwinTransformer',
        arch='base',
        img_size=192,
        window_size=6,
        out_indices=(3,),
    ),
    masking=dict(type='mmmask.RandomMask', ratio=22 / 36),
    neck=dict(type='mmmask.LinearDecoder'),
    target_generator=dict(type='mmmask.PixelTarget', normalize=False),
    head=dict(type='mmmask.MaskedRegressionHead', distance='absolute'),
)
train_dataloader = dict(
    batch_size=128,
    dataset=dict(
        pipeline=[
            dict(
                type='mmmask.RandomResizedCrop',
                scale=192,
                crop_ratio_range=(0.67, 1.0),
                flip_prob=0.5,
            ),
            dict(type='mmpretrain.PackInputs'),
        ]
    ),
)

# peak lr = 1e-4 * (16 GPUs * 128) / 256 = 8e-4
optim_wrapper = dict(
    optimizer=dict(lr=1e-4, betas=(0.9, 0.999)),
    paramwise_cfg=dict(no_decay=('token',)),
    clip_grad=dict(max_norm=5.0),
)
# eta_min is a twentieth of the peak.
param_scheduler = dict(warmup_epochs=10, eta_min=4e-5)
train_cfg = dict(max_epochs=100)

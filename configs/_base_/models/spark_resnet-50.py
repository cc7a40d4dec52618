# SparK with a ResNet-50 at 224 px: 19 of 49 units of 32 px are visible (20 in the reference).
model = dict(
    type='mmmask.MaskedImageModel',
    data_preprocessor=dict(
        type='mmpretrain.SelfSupDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
    ),
    backbone=dict(
        type='mmmask.MaskedResNet',
        depth=50,
        out_indices=(0, 1, 2, 3),
        norm_cfg=dict(type='SyncBN'),
        zero_init_residual=False,
    ),
    masking=dict(type='mmmask.RandomMask', ratio=0.6),
    neck=dict(
        type='mmmask.ConvDecoder',
        embed_dims=768,
        depth=0,
        upsamplings=5,
        norm_cfg=dict(type='SyncBN'),
    ),
    target_generator=dict(type='mmmask.PixelTarget', normalize=True),
    head=dict(type='mmmask.MaskedRegressionHead'),
)

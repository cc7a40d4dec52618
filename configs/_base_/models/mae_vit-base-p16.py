# ViT-B/16 at 224 px: 196 patches, of which 49 are visible.
model = dict(
    type='mmmask.MAE',
    data_preprocessor=dict(
        type='mmmask.DataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
    ),
    backbone=dict(type='mmmask.MaskedVisionTransformer', arch='base', img_size=224, patch_size=16),
    masking=dict(type='mmmask.RandomMask', ratio=0.75),
    neck=dict(type='mmmask.TokenDecoder', embed_dims=512, depth=8, num_heads=16),
    target_generator=dict(type='mmmask.PixelTarget', normalize=True),
    head=dict(type='mmmask.MaskedRegressionHead'),
)

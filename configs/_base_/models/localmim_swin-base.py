# Swin-B with window 7 at 224 px: 12 of 49 units of 32 px are visible. After their patch merging the
# stages have maps of 28, 14, 7 and 7 tokens a side, and each predicts HOG on its own map.
layer_norm = dict(type='LN', eps=1e-6)
model = dict(
    type='mmmask.LocalMIM',
    data_preprocessor=dict(
        type='mmmask.DataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
    ),
    backbone=dict(
        type='mmmask.MaskedSwinTransformer',
        arch='base',
        img_size=224,
        out_indices=(0, 1, 2, 3),
        out_after_downsample=True,
        norm_cfg=layer_norm,
        patch_cfg=dict(norm_cfg=layer_norm),
        stage_cfgs=dict(
            block_cfgs=dict(norm_cfg=layer_norm), downsample_cfg=dict(norm_cfg=layer_norm)
        ),
    ),
    masking=dict(type='mmmask.SharedUnitMask', ratio=0.75),
    # The backbone norms the feature maps, which have the resolution of their targets.
    neck=dict(
        type='mmmask.MultiScaleDecoder',
        decoders=[
            dict(type='mmmask.TokenDecoder', embed_dims=embed_dims, depth=1, num_heads=4)
            for embed_dims in (64, 128, 128, 128)
        ],
    ),
    target_generator=dict(
        type='mmmask.HOGTarget', num_bins=18, cell_sizes=(8, 16, 32, 32), bias=True
    ),
    head=dict(type='mmmask.MaskedRegressionHead'),
)

# ViT-B/16 at 224 px. The outputs of blocks 2, 4, 10 and 12 predict HOG on 56, 28, 14 and 7 cells a
# side.
model = dict(
    type='mmmask.LocalMIM',
    data_preprocessor=dict(
        type='mmmask.DataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
    ),
    backbone=dict(
        type='mmmask.MaskedVisionTransformer',
        arch='base',
        img_size=224,
        patch_size=16,
        out_indices=[1, 3, 9, 11],
        final_norm=False,  # each decoder norms its own input
    ),
    masking=dict(type='mmmask.RandomMask', ratio=0.75),
    neck=dict(
        type='mmmask.MultiScaleDecoder',
        decoders=[dict(type='mmmask.ScaleDecoder', scale=scale) for scale in (4, 2, 1, 0.5)],
    ),
    target_generator=dict(type='mmmask.HOGTarget', num_bins=9, cell_sizes=(4, 8, 16, 32)),
    head=dict(type='mmmask.MaskedRegressionHead'),
)

# ResNet-50 at 224 px. Visible in each of 4 groups: 39 of 28x28, 19 of 14x14, 12 of 7x7 positions.
model = dict(
    type='mmmask.MaskDeep',
    data_preprocessor=dict(
        type='mmmask.DataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
    ),
    backbone=dict(
        type='mmpretrain.ResNet',
        depth=50,
        out_indices=(1, 2, 3),
        norm_cfg=dict(type='SyncBN'),
        zero_init_residual=False,
    ),
    masking=dict(type='mmmask.FeatureGroupMask', ratios=(0.95, 0.90, 0.75), num_groups=4),
    neck=dict(type='mmmask.DeepMaskingNeck', embed_dims=256, depth=2, num_heads=8),
    head=dict(type='mmmask.EmbeddingPredictionHead', hidden_channels=4096),
    num_views=2,
    momentum=0.99,
)

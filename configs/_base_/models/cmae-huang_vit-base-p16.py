# ViT-B/16 at 224 px: 17 of 49 blocks of 2x2 patches, 68 of 196 patches, are visible.
_base_ = 'mae_vit-base-p16.py'

batch_norm = dict(type='SyncBN', eps=1e-6)
model = dict(
    type='mmmask.CMAEHuang',
    masking=dict(_delete_=True, type='mmmask.BlockMask', ratio=0.65, block_size=2),
    feature_decoder=dict(type='mmmask.TokenDecoder', embed_dims=512, depth=2, num_heads=16),
    projector=dict(
        type='mmpretrain.NonLinearNeck',
        hid_channels=1536,
        out_channels=256,
        with_bias=True,
        with_last_bn=False,
        with_avg_pool=False,
        norm_cfg=batch_norm,
    ),
    contrast_head=dict(
        type='mmmask.ContrastiveHead',
        predictor=dict(
            type='mmpretrain.NonLinearNeck',
            hid_channels=1536,
            with_bias=True,
            with_last_bn=False,
            with_avg_pool=False,
            norm_cfg=batch_norm,
        ),
        temperature=0.07,
        gather=True,
    ),
    momentum=0.996,
)

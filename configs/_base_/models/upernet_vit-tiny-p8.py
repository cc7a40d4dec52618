_base_ = 'upernet_small.py'

# The network of configs/demo and the layers that it tapped: 256 tokens of 8 px.
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmseg.MAE',
        img_size=(128, 128),
        patch_size=8,
        embed_dims=128,
        num_layers=6,
        num_heads=4,
        mlp_ratio=4,
        norm_cfg=dict(type='LN', eps=1e-6),
        init_values=1.0,
        out_indices=[1, 2, 3, 5],
    ),
    neck=dict(
        type='mmmask.AveragePoolPyramid',
        embed_dim=128,
        rescales=[2, 1, 0.5, 0.25],
        norm_cfg=dict(type='BN'),
    ),
    decode_head=dict(in_channels=[128, 128, 128, 128]),
    auxiliary_head=dict(in_channels=128),
)

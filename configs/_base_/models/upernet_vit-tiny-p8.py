# The network of configs/demo and the layers whose feature maps it decodes: 256 tokens of 8 px.
_base_ = 'upernet_r50.py'

norm_cfg = dict(type='BN', requires_grad=True)
crop_size = (128, 128)
width = 128
head = dict(channels=64, num_classes=2, norm_cfg=norm_cfg)
model = dict(
    data_preprocessor=dict(size=crop_size),
    backbone=dict(
        _delete_=True,
        type='mmseg.MAE',
        img_size=crop_size,
        patch_size=8,
        embed_dims=width,
        num_layers=6,
        num_heads=4,
        mlp_ratio=4,
        norm_cfg=dict(type='LN', eps=1e-6),
        init_values=1.0,
        out_indices=[1, 2, 3, 5],
    ),
    neck=dict(
        type='mmmask.AveragePoolPyramid',
        embed_dim=width,
        rescales=[2, 1, 0.5, 0.25],
        norm_cfg=dict(type='BN'),
    ),
    decode_head=dict(head, in_channels=[width] * 4),
    auxiliary_head=dict(head, in_channels=width),
)

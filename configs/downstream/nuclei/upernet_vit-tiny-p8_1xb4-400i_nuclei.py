_base_ = [
    '../../_base_/models/upernet_small.py',
    '../../_base_/datasets/nuclei_semantic.py',
    '../../_base_/schedules/small.py',
    '../../_base_/runtime/segmentation.py',
]

# The network of configs/demo and the layers that it tapped.
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
        rescales=[4, 2, 1, 0.5],
        norm_cfg=dict(type='BN'),
    ),
    decode_head=dict(in_channels=[128, 128, 128, 128], num_classes=2),
    auxiliary_head=dict(in_channels=128, num_classes=2),
    test_cfg=dict(mode='slide', crop_size=(128, 128), stride=(96, 96)),
)
default_hooks = dict(logger=dict(interval=25), checkpoint=dict(interval=400, save_best=None))

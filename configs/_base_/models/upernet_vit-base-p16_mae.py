# mmseg's network for MAE and its optimizer. Relative position biases start at 0 and LayerScale at
# 1; pre-training has neither. Feature maps come from blocks 3, 5, 7 and 11; the coarse level is a
# maximum.
_base_ = 'upernet_r50.py'

crop_size = (512, 512)
width = 768
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmseg.MAE',
        img_size=crop_size,
        patch_size=16,
        embed_dims=width,
        num_layers=12,
        num_heads=12,
        mlp_ratio=4,
        norm_cfg=dict(type='LN', eps=1e-6),
        init_values=1.0,
        drop_path_rate=0.1,
        out_indices=[3, 5, 7, 11],
    ),
    neck=dict(type='mmseg.Feature2Pyramid', embed_dim=width, rescales=[4, 2, 1, 0.5]),
    decode_head=dict(in_channels=[width] * 4, channels=width),
    auxiliary_head=dict(in_channels=width),
    test_cfg=dict(mode='slide', crop_size=crop_size, stride=(341, 341)),
)
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    constructor='mmmask.LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(layer_decay_rate=0.65),
)

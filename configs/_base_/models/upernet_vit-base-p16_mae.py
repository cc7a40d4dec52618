_base_ = 'upernet_r50.py'

# mmseg's network for MAE: relative position biases that start at 0 and LayerScale that starts at 1,
# neither of which pre-training has; blocks 3, 5, 7 and 11; the coarse level is a maximum.
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmseg.MAE',
        img_size=(512, 512),
        patch_size=16,
        embed_dims=768,
        num_layers=12,
        num_heads=12,
        mlp_ratio=4,
        norm_cfg=dict(type='LN', eps=1e-6),
        init_values=1.0,
        drop_path_rate=0.1,
        out_indices=[3, 5, 7, 11],
    ),
    neck=dict(type='mmseg.Feature2Pyramid', embed_dim=768, rescales=[4, 2, 1, 0.5]),
    decode_head=dict(in_channels=[768, 768, 768, 768], channels=768),
    auxiliary_head=dict(in_channels=768),
    test_cfg=dict(mode='slide', crop_size=(512, 512), stride=(341, 341)),
)

_base_ = 'upernet_vit-tiny-p8_1xb4-400i_digits-on-photographs.py'

# The network of configs/demo: three stages from patches of 2 px.
widths = [32, 64, 128]
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmpretrain.SwinTransformer',
        arch=dict(embed_dims=widths[0], depths=[2, 2, 2], num_heads=[2, 4, 8]),
        img_size=64,
        patch_size=2,
        window_size=4,
        drop_path_rate=0.0,
        out_indices=(0, 1, 2),
        pad_small_map=True,
    ),
    neck=None,
    decode_head=dict(in_channels=widths, in_index=[0, 1, 2]),
    auxiliary_head=dict(in_channels=widths[2]),
)

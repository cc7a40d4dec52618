_base_ = 'mask-rcnn_small.py'

# The network of configs/demo with windows of 8 and two global blocks: 256 tokens of 8 px.
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmmask.WindowVisionTransformer',
        arch=dict(
            embed_dims=128,
            num_layers=6,
            num_heads=4,
            feedforward_channels=512,
            global_attn_indexes=[2, 5],
        ),
        img_size=128,
        patch_size=8,
        window_size=8,
    ),
    neck=dict(
        _delete_=True,
        type='mmmask.SimpleFeaturePyramid',
        in_channels=128,
        out_channels=64,
        scales=(2, 1, 0.5, 0.25),
    ),
)

_base_ = 'mask-rcnn_resnet-18_fpn_1xb4-400i_digits-on-photographs.py'

# The network of configs/demo with windows of 8 and two global blocks: 256 tokens of 8 px.
width = 128
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmmask.WindowVisionTransformer',
        arch=dict(
            embed_dims=width,
            num_layers=6,
            num_heads=4,
            feedforward_channels=4 * width,
            global_attn_indexes=[2, 5],
        ),
        img_size=128,
        patch_size=8,
        window_size=8,
    ),
    neck=dict(
        _delete_=True,
        type='mmmask.SimpleFeaturePyramid',
        in_channels=width,
        out_channels=_base_.channels,
        scales=(2, 1, 0.5, 0.25),
    ),
)

_base_ = 'vit-base-p16_classifier.py'

# The mean of the last map of LocalMIM's Swin-B, which ends without a norm, a new LayerNorm, and a
# linear layer.
layer_norm = dict(type='LN', eps=1e-6)
stage = dict(block_cfgs=dict(norm_cfg=layer_norm), downsample_cfg=dict(norm_cfg=layer_norm))
width = 1024
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmpretrain.SwinTransformer',
        arch='base',
        img_size=224,
        drop_path_rate=0.1,
        norm_cfg=None,
        patch_cfg=dict(norm_cfg=layer_norm),
        stage_cfgs=stage,
    ),
    neck=dict(type='mmmask.PooledNorm', in_channels=width),
    head=dict(in_channels=width),
)

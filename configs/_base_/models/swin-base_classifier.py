# Pool first, then a new LayerNorm, then a linear layer; the backbone ends without a norm.
_base_ = 'vit-base-p16_classifier.py'

layer_norm = dict(type='LN', eps=1e-6)
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmpretrain.SwinTransformer',
        arch='base',
        img_size=224,
        drop_path_rate=0.1,
        norm_cfg=None,
        patch_cfg=dict(norm_cfg=layer_norm),
        stage_cfgs=dict(
            block_cfgs=dict(norm_cfg=layer_norm), downsample_cfg=dict(norm_cfg=layer_norm)
        ),
    ),
    neck=dict(type='mmmask.PooledNorm', in_channels=1024),
    head=dict(in_channels=1024),
)

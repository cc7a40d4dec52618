_base_ = 'vit-base-p16_frozen.py'

layer_norm = dict(type='LN', eps=1e-6)
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmpretrain.SwinTransformer',
        arch='base',
        img_size=224,
        norm_cfg=None,
        patch_cfg=dict(norm_cfg=layer_norm),
        stage_cfgs=dict(
            block_cfgs=dict(norm_cfg=layer_norm), downsample_cfg=dict(norm_cfg=layer_norm)
        ),
    )
)

# The backbone of LocalMIM's Swin-B, for classifiers. It ends without a norm.
layer_norm = dict(type='LN', eps=1e-6)
backbone = dict(
    type='mmpretrain.SwinTransformer',
    arch='base',
    img_size=224,
    norm_cfg=None,
    patch_cfg=dict(norm_cfg=layer_norm),
    stage_cfgs=dict(block_cfgs=dict(norm_cfg=layer_norm), downsample_cfg=dict(norm_cfg=layer_norm)),
)
# Swin-L has the windows of LocalMIM's pre-training.
swin_large = dict(
    arch='large',
    stage_cfgs=[
        dict(backbone['stage_cfgs'], window_size=window_size) for window_size in (14, 14, 14, 7)
    ],
)

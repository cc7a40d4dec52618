# FCMAE with a ConvNeXt V2-B at 224 px: 19 of 49 units of 32 px are visible.
model = dict(
    type='mmmask.MaskedImageModel',
    data_preprocessor=dict(
        type='mmpretrain.SelfSupDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
    ),
    backbone=dict(
        type='mmmask.MaskedConvNeXt',
        arch='base',
        out_indices=(3,),
        use_grn=True,
        layer_scale_init_value=0.0,
    ),
    masking=dict(type='mmmask.RandomMask', ratio=0.6),
    neck=dict(type='mmmask.ConvDecoder', embed_dims=512, depth=1),
    target_generator=dict(type='mmmask.PixelTarget', normalize=True),
    head=dict(type='mmmask.MaskedRegressionHead'),
)

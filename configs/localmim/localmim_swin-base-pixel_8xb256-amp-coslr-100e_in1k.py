_base_ = 'localmim_swin-base-hog_8xb256-amp-coslr-100e_in1k.py'

model = dict(
    neck=dict(
        decoders=[
            dict(
                type='mmmask.TokenDecoder',
                in_channels=in_channels,
                out_channels=3 * patch_size**2,  # 192, 768, 3072, 3072
                embed_dims=embed_dims,
                depth=1,
                num_heads=4,
            )
            for in_channels, embed_dims, patch_size in (
                (256, 64, 8),
                (512, 128, 16),
                (1024, 128, 32),
                (1024, 128, 32),
            )
        ]
    ),
    target_generator=dict(
        _delete_=True, type='mmmask.PixelTarget', patch_size=(8, 16, 32, 32), normalize=True
    ),
)

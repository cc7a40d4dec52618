_base_ = 'localmim_swin-base-hog_8xb256-amp-coslr-100e_in1k.py'

model = dict(
    target_generator=dict(
        _delete_=True, type='mmmask.PixelTarget', patch_size=(8, 16, 32, 32), normalize=True
    ),
)

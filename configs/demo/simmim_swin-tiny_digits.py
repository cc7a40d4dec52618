_base_ = 'localmim_swin-tiny_digits.py'

# Units of 8 px, which become one position of the last stage, in random places of each image.
model = dict(
    type='mmmask.SimMIM',
    backbone=dict(arch=dict(embed_dims=48, num_heads=[3, 6, 12]), out_indices=(2,)),
    masking=dict(_delete_=True, type='mmmask.RandomMask', ratio=0.6),
    neck=dict(_delete_=True, type='mmmask.LinearDecoder'),
    target_generator=dict(_delete_=True, type='mmmask.PixelTarget', normalize=False),
    head=dict(distance='absolute'),
)

_base_ = 'mae_vit-tiny_digits.py'

# Blocks of 2 x 2 patches, 16 px, of which 60 % are hidden; in the paper 32 px of images of 192 px.
model = dict(
    type='mmmask.SimMIM',
    masking=dict(_delete_=True, type='mmmask.BlockMask', ratio=0.6, block_size=2),
    neck=dict(_delete_=True, type='mmmask.LinearDecoder'),
    target_generator=dict(normalize=False),
    head=dict(distance='absolute'),
)

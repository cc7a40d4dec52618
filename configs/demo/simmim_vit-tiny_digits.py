_base_ = 'mae_vit-tiny_digits.py'

# 10 of 16 blocks of 2 x 2 patches are hidden. The paper hides 60 % of the blocks of 32 px of images
# of 192 px.
model = dict(
    type='mmmask.SimMIM',
    masking=dict(_delete_=True, type='mmmask.BlockMask', ratio=0.625, block_size=2),
    neck=dict(_delete_=True, type='mmmask.LinearDecoder'),
    target_generator=dict(normalize=False),
    head=dict(distance='absolute'),
)

_base_ = 'mae_vit-base-p16.py'

# 20 of 49 blocks of 2 x 2 patches are hidden, and go through the encoder as mask tokens.
model = dict(
    type='mmmask.SimMIM',
    backbone=dict(drop_path_rate=0.1),
    masking=dict(_delete_=True, type='mmmask.BlockMask', ratio=20 / 49, block_size=2),
    neck=dict(_delete_=True, type='mmmask.LinearDecoder'),
    target_generator=dict(
        _delete_=True, type='mmmask.FeatureTarget', name='vit_base_patch16_clip_224.openai'
    ),
)

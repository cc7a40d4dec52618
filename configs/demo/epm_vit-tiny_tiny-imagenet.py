_base_ = 'ehm_vit-tiny_tiny-imagenet.py'

model = dict(
    masking=dict(_delete_=True, type='mmmask.EvolvedPartMask', ratio=0.75),
    parser=dict(online_patches=True),
)

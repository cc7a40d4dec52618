_base_ = 'ehm_vit-tiny-p8_1xb256-amp-coslr-200e_tiny-imagenet-64px.py'

# The affinity is a sum of 12 layers * 3 heads = 36 maps over 64 patches; a ViT-B has 144 over 196.
model = dict(
    masking=dict(_delete_=True, type='mmmask.EvolvedPartMask', ratio=0.75),
    parser=dict(online_patches=True),
)

_base_ = 'ehm_vit-tiny-p8_1xb256-amp-coslr-200e_tiny-imagenet-64px.py'

# 12 layers of 3 heads sum to 36 where ViT-B sums to 144 maps, over 64 patches instead of 196.
model = dict(
    masking=dict(_delete_=True, type='mmmask.EvolvedPartMask', ratio=0.75),
    parser=dict(online_patches=True),
)

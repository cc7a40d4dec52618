_base_ = 'ehm_vit-tiny_digits.py'

# Masks change from a lattice to 10 parts.
model = dict(
    masking=dict(_delete_=True, type='mmmask.EvolvedPartMask', ratio=0.75),
    parser=dict(online_patches=True),
)

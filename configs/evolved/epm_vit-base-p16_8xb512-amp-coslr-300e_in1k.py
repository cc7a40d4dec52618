_base_ = 'ehm_vit-base-p16_8xb512-amp-coslr-300e_in1k.py'

# Parts, blended with a lattice, as in the released code; the online encoder embeds the patches.
model = dict(
    masking=dict(_delete_=True, type='mmmask.EvolvedPartMask', ratio=0.75, num_epochs=300),
    parser=dict(online_patches=True),
)

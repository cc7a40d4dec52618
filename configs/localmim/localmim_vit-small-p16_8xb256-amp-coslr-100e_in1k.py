_base_ = 'localmim_vit-base-p16_8xb256-amp-coslr-100e_in1k.py'

# ViT-S exists in the reference code, without a published result.
model = dict(backbone=dict(arch='deit-small'))

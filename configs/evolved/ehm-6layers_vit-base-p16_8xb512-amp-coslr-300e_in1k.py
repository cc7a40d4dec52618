_base_ = 'ehm_vit-base-p16_8xb512-amp-coslr-300e_in1k.py'

# The parser runs the first half of the encoder only, at half the cost.
model = dict(parser=dict(layers=6))

_base_ = 'ehm_vit-base-p16_8xb512-amp-coslr-300e_in1k.py'

# The attention of the first half of the encoder costs half as much to read.
model = dict(parser=dict(layers=6))

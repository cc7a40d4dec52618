_base_ = 'vit-base-p16_linear_8xb2048-amp-coslr-90e_in1k.py'

model = dict(
    backbone=dict(arch='deit-small'), neck=dict(input_features=384), head=dict(in_channels=384)
)

_base_ = 'vit-base-p16_copydays-320px.py'

model = dict(backbone=dict(arch='large', out_indices=[7, 15, 23]))

_base_ = 'vit-base-p16_copydays-320px.py'

model = dict(backbone=dict(arch='deit-small'))

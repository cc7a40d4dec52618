_base_ = 'maskdeep-m1_resnet-50_16xb256-amp-coslr-200e_in1k.py'

# Nothing masked: BYOL.
model = dict(masking=None, neck=dict(fusion=None))

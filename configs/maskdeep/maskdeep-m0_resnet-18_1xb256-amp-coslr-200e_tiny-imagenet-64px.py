_base_ = 'maskdeep-m1_resnet-18_1xb256-amp-coslr-200e_tiny-imagenet-64px.py'

# Nothing masked: BYOL.
model = dict(masking=None, neck=dict(fusion=None))

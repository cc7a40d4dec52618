# BYOL: nothing is masked.
_base_ = 'maskdeep-m1_resnet-18_tiny-imagenet.py'

model = dict(masking=None, neck=dict(fusion=None))

_base_ = 'maskdeep-m2_resnet-18_1xb256-amp-coslr-200e_tiny-imagenet-64px.py'

# Deep masking: positions of the last level only, one group.
model = dict(backbone=dict(out_indices=(3,)), masking=dict(ratios=(0.75,)))
default_hooks = dict(collapse=dict(module='target.module.projectors.0'))

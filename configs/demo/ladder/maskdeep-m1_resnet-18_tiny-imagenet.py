# Deep masking: positions of the last level only, one group.
_base_ = 'maskdeep-m2_resnet-18_tiny-imagenet.py'

model = dict(
    backbone=dict(out_indices=(3,)),
    masking=dict(ratios=(0.75,)),
)
default_hooks = dict(collapse=dict(module='target.module.projectors.0'))

_base_ = 'maskdeep_resnet-50_16xb256-amp-coslr-200e_in1k.py'

# A feature pyramid for detectors is trained as well; tools/export.py --to mmdet writes both.
# Visible in each of 4 groups: 62 of 56x56, 39 of 28x28, 19 of 14x14 and 12 of 7x7 positions.
model = dict(
    backbone=dict(out_indices=(0, 1, 2, 3)),
    fpn=dict(type='mmmask.FeaturePyramid', out_channels=256),
    masking=dict(ratios=(0.98, 0.95, 0.90, 0.75)),
)
default_hooks = dict(collapse=dict(module='target.module.projectors.3'))

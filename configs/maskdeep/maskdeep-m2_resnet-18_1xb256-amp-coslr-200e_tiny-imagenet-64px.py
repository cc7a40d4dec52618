_base_ = 'maskdeep-m3_resnet-18_1xb256-amp-coslr-200e_tiny-imagenet-64px.py'

# Hierarchy: positions of three levels, one group.
model = dict(masking=dict(num_groups=1))

# Hierarchy: positions of three levels, one group.
_base_ = 'maskdeep-m3_resnet-18_tiny-imagenet.py'

model = dict(masking=dict(num_groups=1))

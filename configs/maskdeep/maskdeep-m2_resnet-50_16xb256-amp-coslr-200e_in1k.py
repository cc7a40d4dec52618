_base_ = 'maskdeep-m3_resnet-50_16xb256-amp-coslr-200e_in1k.py'

# Hierarchy: positions of three levels, one group.
model = dict(masking=dict(num_groups=1))

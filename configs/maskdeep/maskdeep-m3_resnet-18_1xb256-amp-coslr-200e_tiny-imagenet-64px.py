_base_ = 'maskdeep_resnet-18_1xb256-amp-coslr-200e_tiny-imagenet-64px.py'

# Groups: four of them share one pass of the encoder. The other view is the only target.
model = dict(data_preprocessor=dict(views=[{{_base_.view1}}, {{_base_.view2}}]))

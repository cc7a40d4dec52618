# Groups: four of them share one pass of the encoder.
_base_ = 'maskdeep-m4_resnet-18_tiny-imagenet.py'

model = dict(data_preprocessor=dict(views=[{{_base_.view1}}, {{_base_.view2}}]))

# Groups: four of them share one pass of the encoder. The other view is the only target.
_base_ = 'maskdeep-m4_resnet-18_tiny-imagenet.py'

model = dict(data_preprocessor=dict(views=[_base_.view1, _base_.view2]))

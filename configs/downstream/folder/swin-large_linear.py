_base_ = 'swin-base_linear.py'

width = 1536
model = dict(
    backbone=_base_.swin_large,
    neck=[_base_.model.neck[0], dict(_base_.model.neck[1], input_features=width)],
    head=dict(in_channels=width),
)

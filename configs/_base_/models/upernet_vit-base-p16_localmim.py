# The layers that LocalMIM reads in pre-training; the coarse level is an average.
_base_ = 'upernet_vit-base-p16_mae.py'

model = dict(backbone=dict(out_indices=[1, 3, 9, 11]), neck=dict(type='mmmask.AveragePoolPyramid'))
optim_wrapper = dict(optimizer=dict(lr=4e-4))

_base_ = 'upernet_vit-base-p16_mae.py'

# The layers that LocalMIM tapped in pre-training; the coarse level is an average.
model = dict(backbone=dict(out_indices=[1, 3, 9, 11]), neck=dict(type='mmmask.AveragePoolPyramid'))

# ResNet-18 with a 3x3 stem at 64 px, one GPU. The views are made on the device.
# Visible in each of 4 groups: 51 of 32x32, 25 of 16x16, 16 of 8x8 positions.
_base_ = 'maskdeep_resnet-50.py'

view1 = dict(blur=1.0, solarize=0.0)
view2 = dict(blur=0.1, solarize=0.2)
model = dict(
    data_preprocessor=dict(type='mmmask.AugmentingDataPreprocessor', size=64, views=[view1, view2]),
    backbone=dict(
        type='mmpretrain.ResNet_CIFAR', depth=18, norm_cfg=dict(_delete_=True, type='BN')
    ),
    neck=dict(norm_cfg=dict(type='BN1d')),
    head=dict(hidden_channels=1024, norm_cfg=dict(type='BN1d')),
)

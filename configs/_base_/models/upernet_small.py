_base_ = 'upernet_r50.py'

norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    data_preprocessor=dict(size=(128, 128)),
    backbone=dict(
        type='mmpretrain.ResNet_CIFAR',
        depth=18,
        base_channels=16,
        stem_channels=16,
        norm_cfg=norm_cfg,
    ),
    decode_head=dict(in_channels=[16, 32, 64, 128], channels=64, num_classes=2, norm_cfg=norm_cfg),
    auxiliary_head=dict(in_channels=64, channels=64, num_classes=2, norm_cfg=norm_cfg),
)

_base_ = 'vit-base-p16_classifier.py'

model = dict(
    backbone=dict(_delete_=True, type='mmpretrain.ResNet', depth=50),
    neck=dict(type='mmpretrain.GlobalAveragePooling'),
    head=dict(in_channels=2048),
)

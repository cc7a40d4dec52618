_base_ = 'vit-base-p16_frozen.py'

model = dict(backbone=dict(_delete_=True, type='mmpretrain.ResNet', depth=50))

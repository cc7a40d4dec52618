_base_ = ['vit-base-p16_frozen.py', 'swin-base.py']

model = dict(backbone=dict(_delete_=True, **_base_.backbone))

_base_ = 'vit-base-p16_knn.py'

model = dict(backbone=dict(arch='large'))

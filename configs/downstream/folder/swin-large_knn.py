_base_ = 'swin-base_knn.py'

model = dict(backbone=_base_.swin_large)

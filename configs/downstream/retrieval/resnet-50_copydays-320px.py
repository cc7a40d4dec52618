_base_ = [
    '../../_base_/models/resnet-50_frozen.py',
    '../../_base_/datasets/copydays.py',
    '../../_base_/runtime/classification.py',
]

model = dict(backbone=dict(out_indices=(0, 1, 2, 3)))

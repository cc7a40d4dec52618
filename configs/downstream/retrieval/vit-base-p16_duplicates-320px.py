_base_ = [
    '../../_base_/models/vit-base-p16_frozen.py',
    '../../_base_/datasets/partial_duplicates.py',
    '../../_base_/runtime/classification.py',
]

model = dict(backbone=dict(out_indices=[3, 7, 11]))

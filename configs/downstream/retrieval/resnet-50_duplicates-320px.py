_base_ = [
    '../../_base_/models/resnet-50_frozen.py',
    '../../_base_/datasets/partial_duplicates.py',
    '../../_base_/runtime/default.py',
]
default_scope = 'mmpretrain'

# DATA=FOLDER python tools/test.py ... --pretrained CHECKPOINT
model = dict(backbone=dict(out_indices=(0, 1, 2, 3)))

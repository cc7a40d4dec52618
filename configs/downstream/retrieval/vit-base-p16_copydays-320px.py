_base_ = [
    '../../_base_/models/vit-base-p16_frozen.py',
    '../../_base_/datasets/copydays.py',
    '../../_base_/runtime/default.py',
]
default_scope = 'mmpretrain'

# tools/test.py ... --pretrained CHECKPOINT; 'cls + gem' has 1536 dimensions
model = dict(backbone=dict(out_indices=[3, 7, 11]))

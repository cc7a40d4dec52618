_base_ = [
    '../../_base_/models/resnet-50_frozen.py',
    '../../_base_/datasets/imagenet_knn.py',
    '../../_base_/runtime/default.py',
]
default_scope = 'mmpretrain'

# tools/test.py ... --pretrained CHECKPOINT

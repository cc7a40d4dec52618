_base_ = [
    '../../_base_/models/swin-base_frozen.py',
    '../../_base_/datasets/imagenet_knn.py',
    '../../_base_/runtime/classification.py',
]

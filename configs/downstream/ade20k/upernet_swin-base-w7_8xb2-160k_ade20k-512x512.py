_base_ = [
    '../../_base_/models/upernet_swin-base.py',
    '../../_base_/datasets/ade20k.py',
    '../../_base_/schedules/segmentation_160k.py',
]

# batch = 8 GPUs * 2 = 16

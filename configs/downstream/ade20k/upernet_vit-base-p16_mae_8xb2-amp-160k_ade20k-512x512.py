_base_ = [
    '../../_base_/models/upernet_vit-base-p16_mae.py',
    '../../_base_/datasets/ade20k.py',
    '../../_base_/schedules/segmentation_160k.py',
]

# batch = 8 GPUs * 2 = 16
# Published for 1600 epochs of MAE: 48.13 mIoU, 48.70 with several scales and flips.

_base_ = [
    '../../_base_/models/upernet_vit-base-p16_localmim.py',
    '../../_base_/datasets/voc12aug.py',
    '../../_base_/schedules/segmentation_20k.py',
]

# batch = 8 GPUs * 2 = 16
classes = dict(num_classes=21)
model = dict(decode_head=classes, auxiliary_head=classes)

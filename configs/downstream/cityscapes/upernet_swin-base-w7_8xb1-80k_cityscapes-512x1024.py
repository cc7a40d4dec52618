_base_ = [
    '../../_base_/models/upernet_swin-base.py',
    '../../_base_/datasets/cityscapes.py',
    '../../_base_/schedules/segmentation_80k.py',
]

# batch = 8 GPUs * 1 = 8
classes = dict(num_classes=19)
model = dict(data_preprocessor=dict(size=(512, 1024)), decode_head=classes, auxiliary_head=classes)

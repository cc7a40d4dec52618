_base_ = [
    '../../_base_/models/upernet_vit-base-p16_localmim.py',
    '../../_base_/datasets/cityscapes.py',
    '../../_base_/schedules/segmentation_80k.py',
]

# batch = 8 GPUs * 1 = 8
classes = dict(num_classes=19)
crop_size = (512, 1024)
model = dict(
    data_preprocessor=dict(size=crop_size),
    backbone=dict(img_size=crop_size),
    decode_head=classes,
    auxiliary_head=classes,
    test_cfg=dict(crop_size=crop_size, stride=(341, 683)),
)

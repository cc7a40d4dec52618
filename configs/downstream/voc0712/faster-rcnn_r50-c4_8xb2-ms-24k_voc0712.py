_base_ = [
    '../../_base_/models/mask-rcnn_r50_c4.py',
    '../../_base_/datasets/voc0712.py',
    '../../_base_/schedules/detection_24k.py',
    '../../_base_/runtime/detection_iterations.py',
]

# MoCo's recipe as recalled, without precise batch statistics. batch = 8 GPUs * 2 = 16
model = dict(
    type='mmdet.FasterRCNN',
    data_preprocessor=dict(pad_mask=False),
    roi_head=dict(bbox_head=dict(num_classes=20), mask_head=None),
)
default_hooks = dict(checkpoint=dict(interval=4_000, save_best='pascal_voc/mAP'))

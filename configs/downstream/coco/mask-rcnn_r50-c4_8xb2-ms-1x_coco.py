_base_ = [
    '../../_base_/models/mask-rcnn_r50_c4.py',
    '../../_base_/datasets/coco_instance_ms.py',
    '../../_base_/schedules/detection_1x.py',
    '../../_base_/runtime/detection.py',
]  # batch = 8 GPUs * 2 = 16

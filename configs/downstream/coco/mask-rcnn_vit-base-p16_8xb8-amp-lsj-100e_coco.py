_base_ = [
    '../../_base_/models/mask-rcnn_vit-base-p16.py',
    '../../_base_/datasets/coco_lsj-1024.py',
    '../../_base_/schedules/vitdet_184k.py',
    '../../_base_/runtime/detection_iterations.py',
]

# ViTDet: tools/train.py ... --pretrained CHECKPOINT; batch = 8 GPUs * 8 = 64
default_hooks = dict(checkpoint=dict(interval=9_219))

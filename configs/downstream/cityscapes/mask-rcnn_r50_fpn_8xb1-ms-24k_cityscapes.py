_base_ = [
    '../../_base_/models/mask-rcnn_r50_fpn.py',
    '../../_base_/datasets/cityscapes_instance.py',
    '../../_base_/schedules/detection_24k.py',
    '../../_base_/runtime/detection_iterations.py',
]

# detectron2's schedule as recalled, with the detector of COCO. batch = 8 GPUs * 1 = 8
model = dict(roi_head=dict(bbox_head=dict(num_classes=8), mask_head=dict(num_classes=8)))
optim_wrapper = dict(optimizer=dict(lr=0.01))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=1000),
    dict(type='MultiStepLR', by_epoch=False, milestones=[18_000], gamma=0.1),
]
default_hooks = dict(checkpoint=dict(interval=4_000, save_best='coco/segm_mAP'))

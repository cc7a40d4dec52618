_base_ = [
    '../../_base_/models/mask-rcnn_vit-tiny-p8.py',
    '../../_base_/datasets/nuclei_instance.py',
    '../../_base_/schedules/small.py',
    '../../_base_/runtime/detection_iterations.py',
]

# Nuclei are small and many.
model = dict(
    backbone=dict(img_size=160),
    rpn_head=dict(anchor_generator=dict(scales=[3])),  # 12 px on the finest level
    roi_head=dict(bbox_head=dict(num_classes=1), mask_head=dict(num_classes=1)),
    test_cfg=dict(rpn=dict(nms_pre=1000, max_per_img=800), rcnn=dict(max_per_img=400)),
)
default_hooks = dict(logger=dict(interval=25), checkpoint=dict(interval=400, save_best=None))

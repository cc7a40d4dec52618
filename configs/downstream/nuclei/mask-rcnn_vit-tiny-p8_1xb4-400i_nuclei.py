_base_ = [
    '../../_base_/models/mask-rcnn_small.py',
    '../../_base_/datasets/nuclei_instance.py',
    '../../_base_/schedules/small.py',
    '../../_base_/runtime/detection_iterations.py',
]

# The network of configs/demo with windows of 8 and two global blocks; nuclei are small and many.
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmmask.WindowVisionTransformer',
        arch=dict(
            embed_dims=128,
            num_layers=6,
            num_heads=4,
            feedforward_channels=512,
            global_attn_indexes=[2, 5],
        ),
        img_size=160,
        patch_size=8,
        window_size=8,
    ),
    neck=dict(
        _delete_=True,
        type='mmmask.SimpleFeaturePyramid',
        in_channels=128,
        out_channels=64,
        scales=(2, 1, 0.5, 0.25),
    ),
    rpn_head=dict(anchor_generator=dict(scales=[3])),  # 12 px on the finest level
    roi_head=dict(bbox_head=dict(num_classes=1), mask_head=dict(num_classes=1)),
    test_cfg=dict(rpn=dict(nms_pre=1000, max_per_img=800), rcnn=dict(max_per_img=400)),
)
default_hooks = dict(logger=dict(interval=25), checkpoint=dict(interval=400, save_best=None))

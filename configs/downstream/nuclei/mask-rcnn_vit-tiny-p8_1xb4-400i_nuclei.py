_base_ = '../digits_on_photographs/mask-rcnn_vit-tiny-p8_1xb4-400i_digits-on-photographs.py'

# Microscope photographs of 256 x 256 to 696 x 520 with up to 375 nuclei: train.json and val.json
# (COCO) beside the folders train and val. Nuclei have no upright position.
data_root = 'data/nuclei/'
images = dict(data_root=data_root, metainfo=dict(classes=('nucleus',)))
train_dataloader = dict(
    dataset=dict(
        images,
        ann_file='train.json',
        data_prefix=dict(img='train/'),
        pipeline=[
            *_base_.load,
            dict(
                type='mmdet.RandomCrop',
                crop_size=(160, 160),
                recompute_bbox=True,
                allow_negative_crop=False,
            ),
            dict(type='mmdet.FilterAnnotations', min_gt_bbox_wh=(2, 2)),
            dict(
                type='mmdet.RandomFlip',
                prob=0.75,
                direction=['horizontal', 'vertical', 'diagonal'],
            ),
            dict(type='mmdet.PackDetInputs'),
        ],
    )
)
val_dataloader = dict(
    batch_size=1,
    dataset=dict(images, ann_file='val.json', data_prefix=dict(img='val/')),
)
test_dataloader = val_dataloader
# pycocotools computes the AP over all thresholds of IoU from the first 100 detections, whatever
# proposal_nums is; mmdet's own evaluator uses the last of proposal_nums.
val_evaluator = dict(
    ann_file=data_root + 'val.json', proposal_nums=(100, 300, 1000), use_mp_eval=True
)
test_evaluator = val_evaluator

# Nuclei are small and many.
classes = dict(num_classes=1)
model = dict(
    backbone=dict(img_size=160),
    rpn_head=dict(anchor_generator=dict(scales=[3])),  # 12 px on the finest level
    roi_head=dict(bbox_head=classes, mask_head=classes),
    test_cfg=dict(rpn=dict(nms_pre=1000, max_per_img=800), rcnn=dict(max_per_img=400)),
)

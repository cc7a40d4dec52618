_base_ = 'digits-on-photographs_instance.py'

# Microscope photographs of 256 x 256 to 696 x 520 with up to 375 nuclei: train.json and val.json
# (COCO) beside the folders train and val. Nuclei have no upright position.
data_root = 'data/nuclei/'
metainfo = dict(classes=('nucleus',))
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='mmdet.LoadAnnotations', with_bbox=True, with_mask=True),
    dict(
        type='mmdet.RandomCrop',
        crop_size=(160, 160),
        recompute_bbox=True,
        allow_negative_crop=False,
    ),
    dict(type='mmdet.FilterAnnotations', min_gt_bbox_wh=(2, 2)),
    dict(type='mmdet.RandomFlip', prob=0.75, direction=['horizontal', 'vertical', 'diagonal']),
    dict(type='mmdet.PackDetInputs'),
]
train_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        metainfo=metainfo,
        ann_file='train.json',
        data_prefix=dict(img='train/'),
        pipeline=train_pipeline,
    )
)
val_dataloader = dict(
    batch_size=1,
    dataset=dict(
        data_root=data_root,
        metainfo=metainfo,
        ann_file='val.json',
        data_prefix=dict(img='val/'),
    ),
)
test_dataloader = val_dataloader
# pycocotools takes the AP over all thresholds of IoU from the first 100 detections, whatever
# proposal_nums says; mmdet's own evaluator takes the last of proposal_nums.
val_evaluator = dict(
    ann_file=data_root + 'val.json', proposal_nums=(100, 300, 1000), use_mp_eval=True
)
test_evaluator = val_evaluator

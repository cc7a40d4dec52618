_base_ = 'coco_instance.py'

# tools/make_digits_on_photographs.py data/digits-on-photographs --train 1000 --val 200
data_root = 'data/digits-on-photographs/'
images = dict(data_root=data_root, metainfo=dict(classes=tuple('0123456789')))
train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    sampler=dict(type='mmmask.ResumableInfiniteSampler'),
    batch_sampler=None,
    dataset=dict(
        images,
        ann_file='annotations/instances_train.json',
        data_prefix=dict(img='train/'),
        filter_cfg=dict(filter_empty_gt=True, min_size=8),
        pipeline=[
            *_base_.load,
            dict(type='mmdet.PackDetInputs'),  # a flipped digit is no digit
        ],
    ),
)
val_dataloader = dict(
    batch_size=4,
    num_workers=0,
    dataset=dict(
        images,
        ann_file='annotations/instances_val.json',
        data_prefix=dict(img='val/'),
        pipeline=[
            _base_.load[0],
            dict(type='mmdet.Resize', scale_factor=1.0),  # heads need the scale of the image
            _base_.load[1],
            _base_.pack_for_test,
        ],
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + 'annotations/instances_val.json')
test_evaluator = val_evaluator

data_root = 'data/ade/ADEChallengeData2016'
load = [dict(type='LoadImageFromFile'), dict(type='mmseg.LoadAnnotations', reduce_zero_label=True)]
augment = [
    dict(type='RandomResize', scale=(2048, 512), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='mmseg.RandomCrop', crop_size=(512, 512), cat_max_ratio=0.75),
    dict(type='mmseg.RandomFlip', prob=0.5),
    dict(type='mmseg.PhotoMetricDistortion'),
]
pack = dict(type='mmseg.PackSegInputs')
images = dict(type='mmseg.ADE20KDataset', data_root=data_root)
train_dataloader = dict(
    batch_size=2,
    num_workers=4,
    sampler=dict(type='mmmask.ResumableInfiniteSampler', shuffle=True),
    collate_fn=dict(type='pseudo_collate'),
    dataset=dict(
        images,
        data_prefix=dict(img_path='images/training', seg_map_path='annotations/training'),
        pipeline=[*load, *augment, pack],
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='pseudo_collate'),
    dataset=dict(
        images,
        data_prefix=dict(img_path='images/validation', seg_map_path='annotations/validation'),
        pipeline=[
            load[0],
            dict(type='mmseg.Resize', scale=(2048, 512), keep_ratio=True),
            load[1],
            pack,
        ],
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(type='mmseg.IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
val_cfg = dict()
test_cfg = dict()

_base_ = [
    '../../_base_/models/upernet_r50.py',
    '../../_base_/schedules/own_data.py',
    '../../_base_/runtime/default.py',
]

# Your own label maps: --data IMAGES LABELS [TABLE] --pretrained CHECKPOINT.
# Backbone, pyramid and image size follow from the checkpoint; classes from the maps or their table.
default_scope = 'mmseg'  # its modules name their defaults without a scope
own_data = dict(
    task='segmentation',
    # for networks of the size of configs/demo
    narrow={
        'model.decode_head.channels': 64,
        'model.auxiliary_head.channels': 64,
        'optim_wrapper.optimizer.lr': 1e-3,
    },
)
load = [
    dict(type='LoadImageFromFile'),
    dict(type='mmmask.LoadLabelMap', table=[[0, 0], [1, 1], [255, 255]]),
]
pack = dict(type='mmseg.PackSegInputs')
images = dict(type='mmmask.LabelMapFolder', images='data/images', labels='data/labels')
train_dataloader = dict(
    batch_size=4,
    num_workers=2,
    drop_last=True,  # UPerNet's pooling normalises over a batch, which must not be one image
    sampler=dict(type='mmmask.ResumableSampler', shuffle=True),
    dataset=dict(
        images,
        part='train',
        pipeline=[
            *load,
            dict(type='RandomResize', scale=(512, 512), ratio_range=(0.5, 2.0), keep_ratio=True),
            dict(type='mmseg.RandomCrop', crop_size=(512, 512), cat_max_ratio=0.75),
            dict(type='mmseg.RandomFlip', prob=0.5),
            dict(type='mmseg.PhotoMetricDistortion'),
            pack,
        ],
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        images,
        part='val',
        pipeline=[
            load[0],
            dict(type='mmseg.Resize', scale=(512, 512), keep_ratio=True),
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
model = dict(data_preprocessor=dict(test_cfg=dict(size_divisor=32)))
train_cfg = dict(max_epochs=40)
default_hooks = dict(checkpoint=dict(save_best='mIoU'))

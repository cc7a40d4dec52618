_base_ = 'ade20k.py'

load = [dict(type='LoadImageFromFile'), dict(type='mmseg.LoadAnnotations')]
images = dict(type='mmseg.PascalVOCDataset', data_root='data/VOCdevkit/VOC2012')
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ConcatDataset',
        datasets=[
            dict(
                images,
                data_prefix=dict(img_path='JPEGImages', seg_map_path=seg_map_path),
                ann_file=f'ImageSets/Segmentation/{part}.txt',
                pipeline=[*load, *_base_.augment, _base_.pack],
            )
            for part, seg_map_path in (
                ('train', 'SegmentationClass'),
                ('aug', 'SegmentationClassAug'),
            )
        ],
    ),
)
val_dataloader = dict(
    dataset=dict(
        images,
        data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass'),
        ann_file='ImageSets/Segmentation/val.txt',
        pipeline=[
            load[0],
            dict(type='mmseg.Resize', scale=(2048, 512), keep_ratio=True),
            load[1],
            _base_.pack,
        ],
    ),
)
test_dataloader = val_dataloader

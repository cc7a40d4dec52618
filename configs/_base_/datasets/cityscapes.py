_base_ = 'ade20k.py'

scale = (2048, 1024)
load = [dict(type='LoadImageFromFile'), dict(type='mmseg.LoadAnnotations')]
images = dict(type='mmseg.CityscapesDataset', data_root='data/cityscapes')
train_dataloader = dict(
    batch_size=1,
    dataset=dict(
        images,
        data_prefix=dict(img_path='leftImg8bit/train', seg_map_path='gtFine/train'),
        pipeline=[
            *load,
            dict(_base_.augment[0], scale=scale),
            dict(_base_.augment[1], crop_size=(512, 1024)),
            *_base_.augment[2:],
            _base_.pack,
        ],
    ),
)
val_dataloader = dict(
    dataset=dict(
        images,
        data_prefix=dict(img_path='leftImg8bit/val', seg_map_path='gtFine/val'),
        pipeline=[
            load[0],
            dict(type='mmseg.Resize', scale=scale, keep_ratio=True),
            load[1],
            _base_.pack,
        ],
    )
)
test_dataloader = val_dataloader

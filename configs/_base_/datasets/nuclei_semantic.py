_base_ = 'digits-on-photographs_semantic.py'

# tools/make_segmentation_maps.py data/nuclei/train.json data/nuclei/maps/train, and for val.
data_root = 'data/nuclei'
metainfo = dict(classes=('background', 'nucleus'))
crop_size = (128, 128)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='mmseg.LoadAnnotations'),
    dict(type='mmseg.RandomCrop', crop_size=crop_size, cat_max_ratio=1.0),
    dict(type='mmseg.RandomFlip', prob=0.75, direction=['horizontal', 'vertical', 'diagonal']),
    dict(type='mmseg.PackSegInputs'),
]
train_dataloader = dict(
    dataset=dict(
        img_suffix='.png',
        data_root=data_root,
        metainfo=metainfo,
        data_prefix=dict(img_path='train', seg_map_path='maps/train'),
        pipeline=train_pipeline,
    )
)
val_dataloader = dict(
    dataset=dict(
        img_suffix='.png',
        data_root=data_root,
        metainfo=metainfo,
        data_prefix=dict(img_path='val', seg_map_path='maps/val'),
    )
)
test_dataloader = val_dataloader

_base_ = '../digits_on_photographs/upernet_vit-tiny-p8_1xb4-400i_digits-on-photographs.py'

# tools/make_segmentation_maps.py data/nuclei/train.json data/nuclei/maps/train, and for val.
crop_size = (128, 128)
images = dict(
    img_suffix='.png', data_root='data/nuclei', metainfo=dict(classes=('background', 'nucleus'))
)
train_dataloader = dict(
    dataset=dict(
        images,
        data_prefix=dict(img_path='train', seg_map_path='maps/train'),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='mmseg.LoadAnnotations'),
            dict(type='mmseg.RandomCrop', crop_size=crop_size, cat_max_ratio=1.0),
            dict(
                type='mmseg.RandomFlip',
                prob=0.75,
                direction=['horizontal', 'vertical', 'diagonal'],
            ),
            dict(type='mmseg.PackSegInputs'),
        ],
    )
)
val_dataloader = dict(
    dataset=dict(images, data_prefix=dict(img_path='val', seg_map_path='maps/val'))
)
test_dataloader = val_dataloader
model = dict(test_cfg=dict(mode='slide', crop_size=crop_size, stride=(96, 96)))

_base_ = 'ade20k.py'

# tools/make_digits_on_photographs.py data/digits-on-photographs --train 1000 --val 200
data_root = 'data/digits-on-photographs'
# What is digit and what is photograph. To tell the ten digits apart takes longer: segmentation/ in
# place of foreground/, eleven classes, and more iterations.
metainfo = dict(classes=('background', 'digit'))
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='mmseg.LoadAnnotations'),
    dict(type='mmseg.PackSegInputs'),  # a digit is no longer one when it is flipped
]
test_pipeline = train_pipeline
train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    dataset=dict(
        type='mmseg.BaseSegDataset',
        data_root=data_root,
        metainfo=metainfo,
        data_prefix=dict(img_path='train', seg_map_path='foreground/train'),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    num_workers=0,
    dataset=dict(
        type='mmseg.BaseSegDataset',
        data_root=data_root,
        metainfo=metainfo,
        data_prefix=dict(img_path='val', seg_map_path='foreground/val'),
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader

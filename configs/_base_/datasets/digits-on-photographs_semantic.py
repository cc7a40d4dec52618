_base_ = 'ade20k.py'

# tools/make_digits_on_photographs.py data/digits-on-photographs --train 1000 --val 200
# Digits against photographs. To distinguish the ten digits takes longer: segmentation/ in place of
# foreground/, eleven classes, and more iterations.
images = dict(
    type='mmseg.BaseSegDataset',
    data_root='data/digits-on-photographs',
    metainfo=dict(classes=('background', 'digit')),
    pipeline=[
        dict(type='LoadImageFromFile'),
        dict(type='mmseg.LoadAnnotations'),
        dict(type='mmseg.PackSegInputs'),  # a flipped digit is no digit
    ],
)
train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    dataset=dict(images, data_prefix=dict(img_path='train', seg_map_path='foreground/train')),
)
val_dataloader = dict(
    num_workers=0,
    dataset=dict(images, data_prefix=dict(img_path='val', seg_map_path='foreground/val')),
)
test_dataloader = val_dataloader

_base_ = [
    '../../_base_/models/upernet_r50.py',
    '../../_base_/datasets/ade20k.py',
    '../../_base_/schedules/small.py',
    '../../_base_/runtime/segmentation.py',
]

# The network of configs/demo and the layers whose feature maps it decodes: 256 tokens of 8 px.
norm_cfg = dict(type='BN', requires_grad=True)
crop_size = (128, 128)
width = 128
head = dict(channels=64, num_classes=2, norm_cfg=norm_cfg)
model = dict(
    data_preprocessor=dict(size=crop_size),
    backbone=dict(
        _delete_=True,
        type='mmseg.MAE',
        img_size=crop_size,
        patch_size=8,
        embed_dims=width,
        num_layers=6,
        num_heads=4,
        mlp_ratio=4,
        norm_cfg=dict(type='LN', eps=1e-6),
        init_values=1.0,
        out_indices=[1, 2, 3, 5],
    ),
    neck=dict(
        type='mmmask.AveragePoolPyramid',
        embed_dim=width,
        rescales=[2, 1, 0.5, 0.25],
        norm_cfg=dict(type='BN'),
    ),
    decode_head=dict(head, in_channels=[width] * 4),
    auxiliary_head=dict(head, in_channels=width),
)

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
default_hooks = dict(logger=dict(interval=25), checkpoint=dict(interval=400, save_best=None))

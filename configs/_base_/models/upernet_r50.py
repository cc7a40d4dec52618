# UPerNet for 150 classes at 512 x 512.
norm_cfg = dict(type='SyncBN', requires_grad=True)
head = dict(
    num_classes=150,
    norm_cfg=norm_cfg,
    align_corners=False,
    dropout_ratio=0.1,
    loss_decode=dict(type='mmseg.CrossEntropyLoss', loss_weight=1.0),
)
model = dict(
    type='mmseg.EncoderDecoder',
    data_preprocessor=dict(
        type='mmseg.SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size=(512, 512),
    ),
    backbone=dict(
        type='mmpretrain.ResNet',
        depth=50,
        out_indices=(0, 1, 2, 3),
        norm_cfg=norm_cfg,
        norm_eval=False,
    ),
    decode_head=dict(
        type='mmseg.UPerHead',
        in_channels=[256, 512, 1024, 2048],
        in_index=[0, 1, 2, 3],
        pool_scales=(1, 2, 3, 6),
        channels=512,
        **head,
    ),
    auxiliary_head=dict(
        type='mmseg.FCNHead',
        in_channels=1024,
        in_index=2,
        channels=256,
        num_convs=1,
        concat_input=False,
        **head | dict(loss_decode=dict(type='mmseg.CrossEntropyLoss', loss_weight=0.4)),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)

# The fourth stage of the network, followed by one more norm, is the shared head of the regions.
_base_ = 'mask-rcnn_r50_fpn.py'

custom_imports = dict(imports=['mmpretrain.models.utils.res_layer_extra_norm'])
channels, region_channels = 1024, 2048
model = dict(
    backbone=dict(num_stages=3, strides=(1, 2, 2), dilations=(1, 1, 1), out_indices=(2,)),
    neck=None,
    rpn_head=dict(
        in_channels=channels,
        feat_channels=channels,
        anchor_generator=dict(scales=[2, 4, 8, 16, 32], strides=[16]),
    ),
    roi_head=dict(
        shared_head=dict(
            type='mmdet.ResLayerExtraNorm',
            depth=50,
            stage=3,
            stride=2,
            dilation=1,
            style='pytorch',
            norm_cfg=_base_.norm_cfg,
            norm_eval=False,
        ),
        bbox_roi_extractor=dict(
            roi_layer=dict(output_size=14), out_channels=channels, featmap_strides=[16]
        ),
        bbox_head=dict(
            _delete_=True,
            type='mmdet.BBoxHead',
            with_avg_pool=True,
            roi_feat_size=7,
            in_channels=region_channels,
            num_classes=80,
            bbox_coder=_base_.bbox_coder,
            reg_class_agnostic=False,
            loss_cls=dict(type='mmdet.CrossEntropyLoss'),
            loss_bbox=dict(type='mmdet.L1Loss'),
        ),
        mask_roi_extractor=None,
        mask_head=dict(num_convs=0, in_channels=region_channels, norm_cfg=None),
    ),
    train_cfg=dict(
        rpn=dict(allowed_border=0),
        rpn_proposal=dict(nms_pre=12000, max_per_img=2000),
        rcnn=dict(assigner=dict(match_low_quality=False), mask_size=14),
    ),
    test_cfg=dict(rpn=dict(nms_pre=6000)),
)

_base_ = 'mask-rcnn_r50_fpn.py'

# mmdet's Mask R-CNN for Swin: no norms in the heads, two linear layers in the box head.
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmpretrain.SwinTransformer',
        arch='base',
        img_size=224,
        window_size=7,
        drop_path_rate=0.3,
        out_indices=(0, 1, 2, 3),
        pad_small_map=True,
    ),
    neck=dict(in_channels=[128, 256, 512, 1024], norm_cfg=None),
    roi_head=dict(
        bbox_head=dict(type='mmdet.Shared2FCBBoxHead', norm_cfg=None),
        mask_head=dict(norm_cfg=None),
    ),
)
